package live

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/gorilla/websocket"
)

// Frame is one message of the feed, a JSON text.
type Frame struct {
	// Type is hello (the first one), state or error.
	Type string `json:"type"`
	// Topic is whose state it is, "" for hello and error.
	Topic string `json:"topic"`
	// Seq counts the states of its topic; a gap is what a slow reader has not seen. hello and error
	// have 0.
	Seq uint64 `json:"seq"`
	// Time is when the state was taken, in UTC.
	Time time.Time `json:"time"`
	// Data is the state, whole.
	Data any `json:"data"`
}

// Hello is the data of the first frame.
type Hello struct {
	Version         string   `json:"version"`
	Topics          []string `json:"topics"`
	IntervalSeconds float64  `json:"interval_seconds"`
}

// prepare encodes a frame once for all who will get it.
func prepare(f Frame) (*websocket.PreparedMessage, error) {
	b, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encode %s frame: %w", f.Type, err)
	}
	return websocket.NewPreparedMessage(websocket.TextMessage, b)
}
