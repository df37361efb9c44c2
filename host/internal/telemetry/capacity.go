package telemetry

import (
	"fmt"
	"math"
	"time"
)

const (
	// assumedService stands in until a request has been measured: a search with a summary, or a
	// short chat.
	assumedService = 2 * time.Second
	// assumedLimit stands in when nobody says how many requests may run at once: the shared pool's.
	assumedLimit = 200
	// leastService keeps cached answers from promising millions of users.
	leastService = time.Millisecond

	lowUtilization  = 0.7 // above it queues build up
	highUtilization = 1.0

	lightThink  = 60 * time.Second
	mediumThink = 20 * time.Second
	heavyThink  = 5 * time.Second
)

// Capacity says how many users the server can carry, for three kinds of use.
type Capacity struct {
	Light  string `json:"light_usage"`
	Medium string `json:"medium_usage"`
	Heavy  string `json:"heavy_usage"`
	Basis  Basis  `json:"basis"`
}

// Basis is what a Capacity was computed from, so that a reader can do it again.
type Basis struct {
	ServiceSeconds   float64 `json:"service_seconds"`
	Service          string  `json:"service"` // measured, assumed
	Samples          int64   `json:"samples"`
	ConcurrencyLimit int     `json:"concurrency_limit"`
	Limit            string  `json:"limit"` // configured, assumed
	Think            Think   `json:"think_seconds"`
	UtilizationLow   float64 `json:"utilization_low"`
	UtilizationHigh  float64 `json:"utilization_high"`
	Formula          string  `json:"formula"`
	Source           string  `json:"source"`
}

// Think is the time a user takes between an answer and the next question, in seconds.
type Think struct {
	Light  float64 `json:"light_usage"`
	Medium float64 `json:"medium_usage"`
	Heavy  float64 `json:"heavy_usage"`
}

// estimate applies the interactive response-time law, N = X(R + Z), at the knee where all of limit
// is busy and nobody queues yet: X = limit/S and R = S, hence N = limit(S + Z)/S.
func estimate(service time.Duration, samples int64, limit int) Capacity {
	b := Basis{
		Service: "measured", Samples: samples, Limit: "configured",
		Think:          Think{lightThink.Seconds(), mediumThink.Seconds(), heavyThink.Seconds()},
		UtilizationLow: lowUtilization, UtilizationHigh: highUtilization,
		Formula: "users = utilization * concurrency_limit * (service_seconds + think_seconds) / service_seconds",
		Source:  "interactive response-time law; Denning and Buzen, The Operational Analysis of Queueing Network Models, ACM Computing Surveys 10(3), 1978",
	}
	if samples == 0 {
		service, b.Service = assumedService, "assumed"
	}
	if limit <= 0 {
		limit, b.Limit = assumedLimit, "assumed"
	}
	service = max(service, leastService)
	b.ServiceSeconds, b.ConcurrencyLimit = seconds(service), limit
	users := func(think time.Duration) string {
		n := float64(limit) * (service + think).Seconds() / service.Seconds()
		return fmt.Sprintf("%d-%d users", twoDigits(lowUtilization*n), twoDigits(highUtilization*n))
	}
	return Capacity{Light: users(lightThink), Medium: users(mediumThink), Heavy: users(heavyThink), Basis: b}
}

// twoDigits rounds down to two leading digits: more would claim a precision that is not there.
func twoDigits(n float64) int64 {
	n = math.Round(n*1000) / 1000 // 489.99999 is 490
	if n < 1 {
		return 1
	}
	scale := math.Pow10(max(int(math.Log10(n))-1, 0))
	return int64(math.Floor(n/scale) * scale)
}
