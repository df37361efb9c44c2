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

// incoming follows a client's frames for what gorilla/websocket does not tell: that a close frame has a body of one byte, where RFC
// 6455, 5.5.1, has none or a code of two. The zero value stands before the first frame.
type incoming struct {
	head  [2 + 8 + 4]byte
	have  int    // bytes of head
	skip  uint64 // of the frame's body, still to come
	over  bool   // a close frame has come: what follows it does not matter
	short bool   // its body is one byte
}

// see takes what was read next.
func (f *incoming) see(p []byte) {
	for len(p) > 0 && !f.over {
		if f.skip > 0 {
			n := min(f.skip, uint64(len(p)))
			f.skip, p = f.skip-n, p[n:]
			continue
		}
		f.head[f.have] = p[0]
		f.have, p = f.have+1, p[1:]
		if f.have < 2 {
			continue
		}
		length, size := uint64(f.head[1]&0x7f), 2
		switch length {
		case 126:
			size += 2
		case 127:
			size += 8
		}
		mask := int(f.head[1]>>7) * 4
		if f.have < size+mask {
			continue
		}
		switch size {
		case 4:
			length = uint64(binary.BigEndian.Uint16(f.head[2:]))
		case 10:
			length = binary.BigEndian.Uint64(f.head[2:])
		}
		f.over = f.head[0]&0x0f == opClose&0x0f
		f.short = f.over && length == 1
		f.have, f.skip = 0, length
	}
}

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
