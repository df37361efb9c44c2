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

	mu        sync.RWMutex // guards byPattern; taken before a route's own
	byPattern map[string]*route
}

type route struct {
	pattern  string
	requests *prometheus.CounterVec
	duration prometheus.Observer

	mu      sync.Mutex // guards all below; a leaf
	latency histogram
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
			Buckets: append(slices.Clone(prometheus.DefBuckets), 30, 60, 120, 300),
		}, []string{"route"}),
		byPattern: map[string]*route{},
	}
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
	r = &route{pattern: pattern, requests: rs.requests, duration: rs.duration.WithLabelValues(pattern), codes: map[code]prometheus.Counter{}}
	rs.byPattern[pattern] = r
	return r
}

func (r *route) add(method string, o outcome) {
	r.duration.Observe(o.took.Seconds())
	r.mu.Lock()
	defer r.mu.Unlock()
	key := code{method, o.status}
	counter := r.codes[key]
	if counter == nil {
		counter = r.requests.WithLabelValues(r.pattern, method, strconv.Itoa(o.status))
		r.codes[key] = counter
	}
	counter.Inc()
	r.latency.add(o.took)
	r.bytes += o.bytes
	if c := o.status / 100; c > 0 && c < len(r.classes) {
		r.classes[c]++
	}
}

// Route is what one route pattern has answered since the start.
type Route struct {
	Pattern string   `json:"route"`
	Status  Statuses `json:"status"`
	Bytes   int64    `json:"bytes"`
	Latency Latency  `json:"latency"`
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
	return Latency{Count: h.count, Mean: seconds(h.mean()),
		P50: seconds(h.quantile(0.50)), P95: seconds(h.quantile(0.95)), P99: seconds(h.quantile(0.99))}
}

// Routes returns what each route has answered, sorted by pattern.
func (t *Tracker) Routes() []Route {
	t.board.mu.RLock()
	all := make([]*route, 0, len(t.board.byPattern))
	for _, r := range t.board.byPattern {
		all = append(all, r)
	}
	t.board.mu.RUnlock()
	list := make([]Route, 0, len(all))
	for _, r := range all {
		r.mu.Lock()
		list = append(list, Route{Pattern: r.pattern, Status: statuses(r.classes), Bytes: r.bytes, Latency: r.latency.summary()})
		r.mu.Unlock()
	}
	slices.SortFunc(list, func(a, b Route) int { return cmp.Compare(a.Pattern, b.Pattern) })
	return list
}

// seconds rounds to the microsecond: more digits would be noise.
func seconds(d time.Duration) float64 { return d.Round(time.Microsecond).Seconds() }
