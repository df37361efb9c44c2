package live

import (
	"encoding/binary"
	"math"
	"time"
)

// The types of frames.
const (
	typeHello      = "hello"      // the first one
	typeState      = "state"      // of a topic
	typeHistory    = "history"    // of a topic, when it was asked for
	typeSubscribed = "subscribed" // the answer to subscribe and unsubscribe
	typeTopics     = "topics"     // the list of topics has changed
	typeError      = "error"      // the answer to what is neither
)

// Frame is one message of the feed, a JSON text; docs/live-feed.schema.json says it in detail.
type Frame struct {
	Type string `json:"type"`
	// Topic is whose state or history it is, "" for the others.
	Topic string `json:"topic"`
	// Seq counts the states that were taken of the topic, for all clients; a gap is what one has not seen. It is 0 where there is no
	// state.
	Seq uint64 `json:"seq"`
	// Time is when the state was taken, in UTC.
	Time time.Time `json:"time"`
	// Data is the state, whole.
	Data any `json:"data"`
}

// Hello is the data of the first frame.
type Hello struct {
	Version         string   `json:"version"`
	Topics          []string `json:"topics"`           // that this client may subscribe to
	Rates           []string `json:"rates"`            // that there are
	IntervalSeconds float64  `json:"interval_seconds"` // of the rate "1s"
	HistorySeconds  float64  `json:"history_seconds"`  // that are kept at most; 0 is none
}

// Subscribed is the data of a frame of that type: all that the client is subscribed to now, topic to rate.
type Subscribed struct {
	Topics map[string]string `json:"topics"`
}

// Topics is the data of a frame of that type.
type Topics struct {
	Topics []string `json:"topics"`
}

// Fault is the data of an error frame.
type Fault struct {
	Detail string `json:"detail"`
}

// Points is the data of a history frame. The first field of a point is its time in milliseconds since 1970; a number that is none is null.
// It documents what history encodes by hand.
type Points struct {
	StepSeconds float64      `json:"step_seconds"`
	Fields      []string     `json:"fields"`
	Points      [][]*float64 `json:"points"`
}

// RFC 6455, 5.2: an unfragmented frame of a server, which masks nothing.
const (
	opText    = 0x81
	opPing    = 0x89
	opClose   = 0x88
	opPong    = 0x8a
	longest7  = 125
	longest16 = math.MaxUint16
)

// text makes a text frame of a payload.
func text(payload []byte) []byte {
	return append(appendHeader(make([]byte, 0, len(payload)+10), opText, len(payload)), payload...)
}

func appendHeader(b []byte, op byte, length int) []byte {
	switch {
	case length <= longest7:
		return append(b, op, byte(length))
	case length <= longest16:
		return binary.BigEndian.AppendUint16(append(b, op, 126), uint16(length))
	}
	return binary.BigEndian.AppendUint64(append(b, op, 127), uint64(length))
}
