package telemetry

import (
	"fmt"
	"math"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

const (
	// assumedService stands in until a request has been measured: a search with a summary, or a
	// short chat.
	assumedService = 2 * time.Second
	// assumedLimit stands in when nothing is said to bound how many requests may run at once: the shared pool's.
	assumedLimit = 200
	// leastService keeps cached answers from promising millions of users.
	leastService = time.Millisecond

	lowUtilization  = 0.7 // above it queues build up
	highUtilization = 1.0
)

// What may bound the throughput, as the public document says it. It names no upstream and no setting: those are the operator's.
const (
	BoundCPU         = "cpu"         // the processors
	BoundWorkers     = "workers"     // a plugin's guests compute one at a time in each worker
	BoundPlugin      = "plugin"      // requests that a plugin may hold
	BoundUpstream    = "upstream"    // connections to an upstream
	BoundConnections = "connections" // of clients
	boundAssumed     = "assumed"
)

// Capacity says how many users the server can carry, for three kinds of use. A user asks, reads for the think time, and asks again.
type Capacity struct {
	Light   string          `json:"light_usage"`
	Medium  string          `json:"medium_usage"`
	Heavy   string          `json:"heavy_usage"`
	Users   ByUse[int64]    `json:"users"`    // the high end of the three, unrounded
	BoundBy ByUse[string]   `json:"bound_by"` // cpu, workers, plugin, upstream, connections or assumed
	Rate    float64         `json:"requests_per_second"`
	Basis   Basis           `json:"basis"`
	Bounds  []CapacityBound `json:"-"` // the least first; for the operator
}

// ByUse is one value for each kind of use.
type ByUse[T any] struct {
	Light  T `json:"light_usage"`
	Medium T `json:"medium_usage"`
	Heavy  T `json:"heavy_usage"`
}

// Basis is what a Capacity was computed from, so that a reader can do it again.
type Basis struct {
	ServiceSeconds   float64        `json:"service_seconds"` // of a request that did not wait for a connection
	Service          string         `json:"service"`         // measured, assumed
	Samples          int64          `json:"samples"`
	ConcurrencyLimit float64        `json:"concurrency_limit"` // requests under way when the bound is reached
	Limit            string         `json:"limit"`             // configured, assumed
	MaxConnections   int            `json:"max_connections"`   // of clients; 0 is no bound
	Think            ByUse[float64] `json:"think_seconds"`
	UtilizationLow   float64        `json:"utilization_low"`
	UtilizationHigh  float64        `json:"utilization_high"`
	Formula          string         `json:"formula"`
	Source           string         `json:"source"`
}

// CapacityBound is one thing that requests need, and how many of them a second it can serve.
type CapacityBound struct {
	Kind        string  `json:"kind"`                     // as in Capacity.BoundBy
	Setting     string  `json:"setting"`                  // what to change, e.g. upstreams.gpustack.max_conns
	Limit       float64 `json:"limit"`                    // how many requests may hold it at once
	Demand      float64 `json:"demand_seconds"`           // for how long a request holds it, on average over all requests
	Rate        float64 `json:"max_requests_per_second"`  // limit / demand; 0 when nothing was measured
	Utilization float64 `json:"utilization"`              // of limit, in the time that was measured
	Waited      float64 `json:"wait_seconds_per_request"` // for it
}

// load is what was measured of the requests that did what they were asked.
type load struct {
	samples int64
	service time.Duration   // of one request, what it waited for bounds left out
	bounds  []CapacityBound // those with a demand, the highest rate last
	assumed float64         // requests at once, where nothing was measured; 0 is not known
}

// capacity applies two laws of operational analysis. The bottleneck law: no more requests are served in a second than
// rate = min(limit/demand) over all that they need. The interactive response-time law, N = X(R + Z), at the knee where that rate is
// reached and nobody waits yet: X = rate and R = service, hence N = rate(service + think).
func capacity(l load, think config.Capacity, connections int) Capacity {
	b := Basis{
		Service: "measured", Samples: l.samples, Limit: "configured", MaxConnections: connections,
		Think:          ByUse[float64]{think.Light.Seconds(), think.Medium.Seconds(), think.Heavy.Seconds()},
		UtilizationLow: lowUtilization, UtilizationHigh: highUtilization,
		Formula: "users = utilization * concurrency_limit * (service_seconds + think_seconds) / service_seconds, and at most max_connections",
		Source:  "bottleneck law and interactive response-time law; Denning and Buzen, The Operational Analysis of Queueing Network Models, ACM Computing Surveys 10(3), 1978",
	}
	service, limit, by := max(l.service, leastService), 0.0, boundAssumed
	if l.samples == 0 {
		service, b.Service = assumedService, "assumed"
	}
	if l.samples > 0 && len(l.bounds) > 0 {
		limit, by = l.bounds[0].Rate*service.Seconds(), l.bounds[0].Kind
	} else if limit = l.assumed; limit <= 0 {
		limit, b.Limit = assumedLimit, "assumed"
	}
	b.ServiceSeconds, b.ConcurrencyLimit = seconds(service), digits(limit)
	c := Capacity{Basis: b, Rate: digits(limit / service.Seconds()), Bounds: l.bounds}
	users := func(think time.Duration) (string, int64, string) {
		n, by := limit*(service+think).Seconds()/service.Seconds(), by
		if connections > 0 && n > float64(connections) {
			n, by = float64(connections), BoundConnections
		}
		n = math.Round(n*1000) / 1000 // 489.99999 is 490
		return fmt.Sprintf("%d-%d users", twoDigits(lowUtilization*n), twoDigits(highUtilization*n)), max(int64(n), 1), by
	}
	c.Light, c.Users.Light, c.BoundBy.Light = users(think.Light)
	c.Medium, c.Users.Medium, c.BoundBy.Medium = users(think.Medium)
	c.Heavy, c.Users.Heavy, c.BoundBy.Heavy = users(think.Heavy)
	return c
}

// twoDigits rounds down to two leading digits: more would claim a precision that is not there.
func twoDigits(n float64) int64 {
	n = math.Round(n*1000) / 1000
	if n < 1 {
		return 1
	}
	scale := math.Pow10(max(int(math.Log10(n))-1, 0))
	return int64(math.Floor(n/scale) * scale)
}

// digits keeps four leading digits.
func digits(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0
	}
	scale := math.Pow10(3 - int(math.Floor(math.Log10(math.Abs(v)))))
	return math.Round(v*scale) / scale
}
