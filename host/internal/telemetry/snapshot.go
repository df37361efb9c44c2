package telemetry

import (
	"math"
	"time"
)

// Snapshot is the state of the requests at one moment; the feed sends it as the topic http.
type Snapshot struct {
	UptimeSeconds int64    `json:"uptime_seconds"`
	InFlight      int64    `json:"in_flight"`  // requests whose last byte is not out yet
	Websockets    int64    `json:"websockets"` // hijacked connections, counted apart
	Peak          int64    `json:"peak_in_flight"`
	Total         int64    `json:"total_requests"` // begun, those in flight included
	WebsocketsAll int64    `json:"total_websockets"`
	Bytes         int64    `json:"bytes"`
	Status        Statuses `json:"status"`
	Aborted       int64    `json:"aborted"`     // the handler gave up in the middle
	ClientLeft    int64    `json:"client_left"` // the client went before the answer was whole
	Minute        Window   `json:"last_minute"`
	FiveMinutes   Window   `json:"last_five_minutes"`
	Hour          Window   `json:"last_hour"`
	Latency       Latency  `json:"latency"` // of the last five to six minutes, probes left out
}

// Statuses counts answers by the class of their status.
type Statuses struct {
	Informational int64 `json:"1xx"`
	Success       int64 `json:"2xx"`
	Redirect      int64 `json:"3xx"`
	ClientError   int64 `json:"4xx"`
	ServerError   int64 `json:"5xx"`
}

func statuses(c [6]int64) Statuses { return Statuses{c[1], c[2], c[3], c[4], c[5]} }

// Window is what completed within a sliding window; a younger process has a shorter one.
type Window struct {
	Seconds     float64 `json:"seconds"`
	Completed   int64   `json:"completed"`
	PerSecond   float64 `json:"per_second"`
	Concurrency float64 `json:"avg_concurrency"` // Little's law, requests still in flight included
}

func (w window) public() Window {
	return Window{Seconds: round(w.length.Seconds(), 1), Completed: w.done,
		PerSecond: round(w.perSecond(), 3), Concurrency: round(w.concurrency(), 3)}
}

// Snapshot returns the state now. It waits for nobody but the counters themselves and is cheap
// enough for a request.
func (t *Tracker) Snapshot() Snapshot {
	s, recent := t.read()
	s.Latency = recent.summary()
	return s
}

// InFlight returns how many requests are in flight now, websockets left out.
func (t *Tracker) InFlight() int64 {
	t.flow.mu.Lock()
	defer t.flow.mu.Unlock()
	return t.flow.inFlight
}

func (t *Tracker) read() (Snapshot, *histogram) {
	at := t.uptime()
	recent := new(histogram)
	f := &t.flow
	f.mu.Lock()
	defer f.mu.Unlock()
	f.advance(at)
	f.recent.into(recent, f.last)
	return Snapshot{
		UptimeSeconds: int64(at / time.Second),
		InFlight:      f.inFlight, Websockets: f.websockets, Peak: f.peak,
		Total: f.started, WebsocketsAll: f.upgraded, Bytes: f.bytes, Status: statuses(f.classes),
		Aborted: f.aborted, ClientLeft: f.left,
		Minute: f.since(time.Minute).public(), FiveMinutes: f.since(5 * time.Minute).public(), Hour: f.since(time.Hour).public(),
	}, recent
}

func round(v float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(v*scale) / scale
}
