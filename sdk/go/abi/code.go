package abi

import "time"

// Code says why something failed. Imports return it negated; events carry it beside EventError.
type Code uint32

// Codes.
const (
	OK          Code = 0
	Denied      Code = 1
	Invalid     Code = 2
	NotFound    Code = 3
	State       Code = 4
	NoCredit    Code = 5
	Limit       Code = 6
	Timeout     Code = 7
	Pool        Code = 8
	Connect     Code = 9
	Reset       Code = 10
	TooLarge    Code = 11
	Cancelled   Code = 12
	Unsupported Code = 13
	Fault       Code = 14
	Blocked     Code = 15
	Internal    Code = 16
	Unavailable Code = 17

	// Answered is no failure: the operation has answered its request. A record has it as 1.
	Answered = ^Code(0)
)

// String is the code in words, for an error message.
func (c Code) String() string {
	switch c {
	case OK:
		return "ok"
	case Denied:
		return "denied"
	case Invalid:
		return "invalid"
	case NotFound:
		return "not found"
	case State:
		return "wrong state"
	case NoCredit:
		return "out of credit"
	case Limit:
		return "over a limit"
	case Timeout:
		return "out of time"
	case Pool:
		return "no free connection in time"
	case Connect:
		return "no connection"
	case Reset:
		return "connection broke off"
	case TooLarge:
		return "too large"
	case Cancelled:
		return "cancelled"
	case Unsupported:
		return "unsupported"
	case Fault:
		return "address outside the memory"
	case Blocked:
		return "address refused"
	case Internal:
		return "fault of the host"
	case Unavailable:
		return "the upstream is not asked now"
	case Answered:
		return "answered"
	}
	return "unknown code"
}

// Error is a failure with its code and a text that says what to do.
type Error struct {
	Code  Code
	Text  string
	Retry time.Duration // when trying again may help; 0 is not known
}

// Error is the text, or the code in words when there is none.
func (e *Error) Error() string {
	if e.Text == "" {
		return e.Code.String()
	}
	return e.Text
}
