package live

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"
)

// maxPoints bounds a history; a longer one is coarser. A point is kept as text, some 100 bytes for nine numbers, so a topic's history takes
// less than 512 KiB, and half as much again while somebody asks for it.
const maxPoints = 3600

// Series is a number of a state that history keeps.
type Series struct {
	Name string
	Of   func(state any) float64
}

// number makes a Series of a state of type T.
func number[T any](name string, of func(T) float64) Series {
	return Series{Name: name, Of: func(state any) float64 { return of(state.(T)) }}
}

// history is a ring of points. All of it as one text is made once a point, and only when somebody asks; clients share it.
type history struct {
	series []Series
	step   time.Duration // between two points
	slack  time.Duration // turns are not exact: a point so much early is in time
	head   []byte        // of the data of a frame, up to the points

	mu   sync.Mutex // guards all below; a leaf
	ring []point
	at   int       // where the next point goes, once the ring is full
	last time.Time // when the newest was taken

	sheet *sheet // all points; nil until somebody asks
}

type point struct {
	time int64  // milliseconds since 1970, growing
	text string // a JSON array
}

// newHistory is one for so long; interval is the least time between two points.
func newHistory(series []Series, length, interval time.Duration) *history {
	step := max(interval, (length / maxPoints).Truncate(interval))
	if length/step > maxPoints {
		step += interval
	}
	fields := []string{"time"}
	for _, s := range series {
		fields = append(fields, s.Name)
	}
	names, err := json.Marshal(fields)
	if err != nil { // names are texts
		names = []byte("[]")
	}
	points := int(max(length/step, 1))
	h := &history{series: series, step: step, slack: interval / 5, ring: make([]point, 0, points)}
	h.head = append(h.head, `{"step_seconds":`...)
	h.head = appendNumber(h.head, step.Seconds())
	h.head = append(h.head, `,"fields":`...)
	h.head = append(h.head, names...)
	h.head = append(h.head, `,"points":[`...)
	return h
}

// add keeps a point if it is time for one. A clock that was set back has its points left out until it is where it was. Only Run
// calls it.
func (h *history) add(now time.Time, state any) {
	if !h.last.IsZero() && now.Sub(h.last) < h.step-h.slack {
		return
	}
	p := point{time: now.UnixMilli()}
	text := strconv.AppendInt([]byte{'['}, p.time, 10)
	for _, s := range h.series {
		text = appendNumber(append(text, ','), s.Of(state)) // may panic: nothing is changed yet
	}
	p.text = string(append(text, ']'))
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.ring); n < cap(h.ring) {
		h.ring = append(h.ring, p)
	} else {
		h.ring[h.at] = p
		h.at = (h.at + 1) % n
	}
	h.last, h.sheet = now, nil
}

// since returns the points after a moment as JSON, without the brackets around them, and the sheet that they are a part of; nil is none.
func (h *history) since(moment time.Time) ([]byte, *sheet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sheet == nil {
		h.sheet = h.encode()
	}
	s := h.sheet
	from, _ := slices.BinarySearch(s.times, moment.UnixMilli()+1)
	if from == len(s.times) {
		return nil, nil
	}
	return s.text[s.offsets[from]:], s
}

// encode must be called under mu.
func (h *history) encode() *sheet {
	n, size := len(h.ring), 0
	for _, p := range h.ring {
		size += len(p.text) + 1
	}
	s := &sheet{text: make([]byte, 0, size), offsets: make([]int, n), times: make([]int64, n)}
	for i := range n {
		p := h.ring[(h.at+i)%n]
		if i > 0 {
			s.text = append(s.text, ',')
		}
		s.offsets[i], s.times[i] = len(s.text), p.time
		s.text = append(s.text, p.text...)
	}
	return s
}

func appendNumber(b []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(b, "null"...)
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

// frame is the history of a topic after a moment, in pieces that follow each other on the wire, and the sheet that one of them is a part
// of; nil is none.
func (h *history) frame(name string, now, since time.Time) ([][]byte, *sheet) {
	// Data is the last field, so that what is around the points is the same as around a 0.
	before, err := json.Marshal(Frame{Type: typeHistory, Topic: name, Time: now, Data: 0})
	if err != nil { // texts and times of our own
		return nil, nil
	}
	before = append(before[:len(before)-len("0}")], h.head...)
	points, s := h.since(since)
	after := []byte("]}}")
	length := len(before) + len(points) + len(after)
	return [][]byte{append(appendHeader(nil, opText, length), before...), points, after}, s
}
