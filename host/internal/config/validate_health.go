package config

import (
	"math"
	"net/url"
	"slices"
	"strings"
	"time"
)

// urlPath is where the URL of the endpoint at p was written: the endpoint may be that text alone.
func (v *validator) urlPath(p path) path {
	at := p.key("url")
	if slices.ContainsFunc(v.layers, func(l *layer) bool { return l.has(at) }) {
		return at
	}
	return p
}

// metrics wants the address of a page of metrics.
func (v *validator) metrics(p path, address string) {
	if isDemo(address) {
		v.fault(p, "the demo has no metrics")
		return
	}
	v.endpoint(p, address)
}

// header wants the name of a header, where one is given.
func (v *validator) header(p path, name string) {
	if name != "" && !isToken(name) {
		v.fault(p, "want the name of a header, got %s", v.text(p, name))
	}
}

func (v *validator) health(p path, h Health) {
	if at := p.key("path"); h.Path != "" && !isCheckPath(h.Path) {
		v.fault(at, `want an escaped path such as /healthz, without query, "." or ".." segments, got %s`, v.text(at, h.Path))
	}
	v.positive(p.key("interval"), h.Interval)
	v.positive(p.key("timeout"), h.Timeout)
	v.number(p.key("failures"), int64(h.Failures), 0, maxCount)
	v.statuses(p.key("statuses"), h.Statuses, 500)
	v.positive(p.key("ejection"), h.Ejection)
	if at := p.key("max_ejection"); h.MaxEjection < h.Ejection && v.known(p.key("ejection")) {
		v.fault(at, "want at least ejection, which is %s, got %s", formatDuration(h.Ejection), formatDuration(h.MaxEjection))
	}
	v.notNegative(p.key("slow_start"), h.SlowStart)
}

// isCheckPath reports whether s can follow an endpoint's URL.
func isCheckPath(s string) bool {
	plain, err := url.PathUnescape(s)
	if err != nil || !strings.HasPrefix(s, "/") || strings.ContainsAny(s, "?# \t\r\n") {
		return false
	}
	segments := strings.Split(plain, "/")
	return !slices.Contains(segments, ".") && !slices.Contains(segments, "..")
}

// queue wants a metric where endpoints say where to read one.
func (v *validator) queue(p path, u Upstream) {
	v.positive(p.key("interval"), u.Queue.Interval)
	reads := slices.ContainsFunc(u.Endpoints, func(e Endpoint) bool { return e.Metrics != "" })
	if u.Queue.Metric == "" && reads {
		v.fault(p.key("metric"), "an endpoint has metrics, and no metric is named that is read there: name one, or leave metrics out")
	}
}

func (v *validator) retry(p path, r Retry) {
	v.number(p.key("max"), int64(r.Max), 0, 10)
	v.statuses(p.key("statuses"), r.Statuses, 400)
	v.positive(p.key("delay"), r.Delay)
	if at := p.key("max_delay"); r.MaxDelay < r.Delay && v.known(p.key("delay")) {
		v.fault(at, "want at least delay, which is %s, got %s", formatDuration(r.Delay), formatDuration(r.MaxDelay))
	}
	v.notNegative(p.key("max_wait"), r.MaxWait)
	v.share(p.key("budget"), r.Budget)
}

func (v *validator) breaker(p path, b Breaker) {
	v.share(p.key("failure_rate"), b.FailureRate)
	v.number(p.key("min_calls"), int64(b.MinCalls), 1, maxCount)
	if b.Window < time.Second {
		v.fault(p.key("window"), "want a duration of at least 1s, got %s", formatDuration(b.Window))
	}
	v.positive(p.key("open"), b.Open)
	v.number(p.key("trials"), int64(b.Trials), 1, 1000)
}

// statuses wants statuses of failures, from low on.
func (v *validator) statuses(p path, list []int, low int64) {
	for i, s := range list {
		v.number(p.index(i), int64(s), low, 599)
	}
}

// share wants 0 to 1.
func (v *validator) share(p path, x float64) {
	if x < 0 || x > 1 || math.IsNaN(x) {
		v.fault(p, "want 0 to 1, got %v", x)
	}
}
