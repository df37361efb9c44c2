package telemetry

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// otherRoute takes the requests of patterns beyond the bound, so that reloads with ever new routes
// cannot grow the process.
const otherRoute = "other"

// routes holds the counts of each route pattern, for the feed and for Prometheus. Both are fed by
// the same call, so that they cannot disagree.
type routes struct {
	max      int
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	head     *prometheus.HistogramVec
	bytes    *prometheus.CounterVec

	mu        sync.RWMutex // guards byPattern; taken before a route's own
	byPattern map[string]*route
}

type route struct {
	pattern  string
	flight   occupancy
	requests *prometheus.CounterVec
	duration prometheus.Observer
	head     prometheus.Observer
	sent     prometheus.Counter

	mu      sync.Mutex // guards all below; a leaf
	recent  recent
	busy    time.Duration // of all requests together
	done    int64
	bytes   int64
	classes [6]int64
	codes   map[code]prometheus.Counter
}

// code is a pair of labels; both are bounded, the method by methodLabel, the status by net/http.
type code struct {
	method string
	status int
}

func newRoutes(limit int) *routes {
	return &routes{
		max: limit,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "patchbay_http_requests_total",
			Help: "Requests answered, by route pattern, method and status. 499 is a client that left before the answer began.",
		}, []string{"route", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "patchbay_http_request_duration_seconds",
			Help:    "Time from a request's head to the last byte of its answer, streams included.",
			Buckets: durationBuckets(),
		}, []string{"route"}),
		head: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "patchbay_http_response_head_seconds",
			Help:    "Time from a request's head to the head of its answer; a stream sends its first byte then.",
			Buckets: durationBuckets(),
		}, []string{"route"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "patchbay_http_response_bytes_total",
			Help: "Bytes of answers' bodies.",
		}, []string{"route"}),
		byPattern: map[string]*route{},
	}
}

// durationBuckets reach from a cached answer to a long stream, in seconds.
func durationBuckets() []float64 {
	return append(slices.Clone(prometheus.DefBuckets), 30, 60, 120, 300)
}

func (rs *routes) get(pattern string) *route {
	rs.mu.RLock()
	r := rs.byPattern[pattern]
	rs.mu.RUnlock()
	if r != nil {
		return r
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if r := rs.byPattern[pattern]; r != nil {
		return r
	}
	if len(rs.byPattern) >= rs.max {
		pattern = otherRoute
		if r := rs.byPattern[pattern]; r != nil {
			return r
		}
	}
	r = &route{
		pattern: pattern, requests: rs.requests, codes: map[code]prometheus.Counter{},
		duration: rs.duration.WithLabelValues(pattern), head: rs.head.WithLabelValues(pattern), sent: rs.bytes.WithLabelValues(pattern),
	}
	rs.byPattern[pattern] = r
	return r
}

func (r *route) add(method string, o outcome) {
	r.duration.Observe(o.took.Seconds())
	r.sent.Add(float64(o.bytes))
	if o.head >= 0 {
		r.head.Observe(o.head.Seconds())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	key := code{method, o.status}
	counter := r.codes[key]
	if counter == nil {
		counter = r.requests.WithLabelValues(r.pattern, method, strconv.Itoa(o.status))
		r.codes[key] = counter
	}
	counter.Inc()
	r.recent.add(o.at, o.took)
	r.done++
	r.busy += max(o.took, 0)
	r.bytes += o.bytes
	if c := o.status / 100; c > 0 && c < len(r.classes) {
		r.classes[c]++
	}
}

// Route is what was answered by one route pattern, or by one plugin.
type Route struct {
	Pattern  string   `json:"route,omitempty"`
	Plugin   string   `json:"plugin,omitempty"`
	Requests int64    `json:"requests"` // answered since the start
	Status   Statuses `json:"status"`
	Bytes    int64    `json:"bytes"`
	InFlight int64    `json:"in_flight"`
	Peak     int64    `json:"peak_in_flight"`
	Windows
	Latency Latency `json:"latency"` // of the last five to six minutes
}

// tally adds routes up.
type tally struct {
	recent  histogram
	busy    time.Duration
	done    int64
	bytes   int64
	classes [6]int64
}

// tally adds what the route has answered.
func (r *route) tally(t *tally, at time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recent.into(&t.recent, at)
	t.busy += r.busy
	t.done += r.done
	t.bytes += r.bytes
	for i, n := range r.classes {
		t.classes[i] += n
	}
}

func (t *tally) route() Route {
	return Route{Requests: t.done, Status: statuses(t.classes), Bytes: t.bytes, Latency: t.recent.summary()}
}

// Latency sums up durations, in seconds.
type Latency struct {
	Count uint64  `json:"count"`
	Mean  float64 `json:"mean_seconds"`
	P50   float64 `json:"p50_seconds"`
	P95   float64 `json:"p95_seconds"`
	P99   float64 `json:"p99_seconds"`
}

func (h *histogram) summary() Latency {
	q := h.quantiles(0.50, 0.95, 0.99)
	return Latency{Count: h.count, Mean: seconds(h.mean()), P50: seconds(q[0]), P95: seconds(q[1]), P99: seconds(q[2])}
}

// Routes returns what each route has answered, sorted by pattern.
func (t *Tracker) Routes() []Route {
	at := t.uptime()
	t.board.mu.RLock()
	all := make([]*route, 0, len(t.board.byPattern))
	for _, r := range t.board.byPattern {
		all = append(all, r)
	}
	t.board.mu.RUnlock()
	list := make([]Route, 0, len(all))
	for _, r := range all {
		var sum tally
		r.tally(&sum, at)
		one := sum.route()
		one.Pattern = r.pattern
		r.flight.into(&one, at)
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b Route) int { return cmp.Compare(a.Pattern, b.Pattern) })
	return list
}

// sum adds some routes up. A pattern that nobody has asked for is nothing.
func (t *Tracker) sum(patterns []string, at time.Duration) (sum tally) {
	for _, pattern := range patterns {
		t.board.mu.RLock()
		r := t.board.byPattern[pattern]
		t.board.mu.RUnlock()
		if r != nil {
			r.tally(&sum, at)
		}
	}
	return sum
}

// Busy is the time that requests of some route patterns have taken since the start, all together.
func (t *Tracker) Busy(patterns []string) (busy time.Duration) {
	for _, pattern := range patterns {
		t.board.mu.RLock()
		r := t.board.byPattern[pattern]
		t.board.mu.RUnlock()
		if r != nil {
			r.mu.Lock()
			busy += r.busy
			r.mu.Unlock()
		}
	}
	return busy
}

// seconds rounds to the microsecond: more digits would be noise.
func seconds(d time.Duration) float64 { return d.Round(time.Microsecond).Seconds() }
