package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/patchbay-run/patchbay/host/internal/admin"
	"github.com/patchbay-run/patchbay/host/internal/cache"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

// collector gives Prometheus what the admin listener shows of plugins and pools. It reads when it is asked, and keeps nothing.
type collector struct{ app *App }

type measure[T any] struct {
	name, help string
	kind       prometheus.ValueType
	value      func(T) float64
}

func pluginMeasures() []measure[admin.Plugin] {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return []measure[admin.Plugin]{
		{"patchbay_plugin_up", "1 while a generation of the plugin serves.", gauge, func(p admin.Plugin) float64 {
			if p.State == admin.StateNotLoaded {
				return 0
			}
			return 1
		}},
		{"patchbay_plugin_stale", "1 while an older generation serves because the newest did not load.", gauge, func(p admin.Plugin) float64 {
			if p.State == admin.StateStale {
				return 1
			}
			return 0
		}},
		{"patchbay_plugin_workers", "Workers that run.", gauge, func(p admin.Plugin) float64 { return float64(p.Workers) }},
		{"patchbay_plugin_instances", "Instances that serve one request each.", gauge, func(p admin.Plugin) float64 { return float64(p.Instances) }},
		{"patchbay_plugin_retiring_workers", "Workers that are replaced and end with their last request.", gauge, func(p admin.Plugin) float64 { return float64(p.Retiring) }},
		{"patchbay_plugin_in_flight_requests", "Requests that the plugin holds.", gauge, func(p admin.Plugin) float64 { return float64(p.InFlight) }},
		{"patchbay_plugin_mailbox_events", "Events that no worker has taken yet.", gauge, func(p admin.Plugin) float64 { return float64(p.Waiting) }},
		{"patchbay_plugin_memory_bytes", "Linear memory of the workers.", gauge, func(p admin.Plugin) float64 { return float64(p.Memory) }},
		{"patchbay_plugin_generation_requests_total", "Requests that this generation was given.", counter, func(p admin.Plugin) float64 { return float64(p.Requests) }},
		{"patchbay_plugin_generation_busy_seconds_total", "Time that this generation's guests have run.", counter, func(p admin.Plugin) float64 { return p.Busy }},
		{"patchbay_plugin_generation_traps_total", "Workers of this generation that trapped.", counter, func(p admin.Plugin) float64 { return float64(p.Traps) }},
	}
}

func cacheMeasures() []measure[admin.Plugin] {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	of := func(name, help string, kind prometheus.ValueType, value func(*cache.Stats) int64) measure[admin.Plugin] {
		return measure[admin.Plugin]{"patchbay_cache_" + name, help, kind, func(p admin.Plugin) float64 { return float64(value(p.Cache)) }}
	}
	return []measure[admin.Plugin]{
		of("entries", "Values that are kept.", gauge, func(s *cache.Stats) int64 { return int64(s.Entries) }),
		of("bytes", "Bytes of keys and values, with what an entry costs.", gauge, func(s *cache.Stats) int64 { return s.Bytes }),
		of("limit_bytes", "Bytes that the plugin may keep.", gauge, func(s *cache.Stats) int64 { return s.Limit }),
		of("waiting", "Callers that wait for another's computation.", gauge, func(s *cache.Stats) int64 { return int64(s.Waiting) }),
		of("hits_total", "Fresh values given out.", counter, func(s *cache.Stats) int64 { return s.Hits }),
		of("stale_total", "Values given out past their time to live.", counter, func(s *cache.Stats) int64 { return s.Stale }),
		of("shared_total", "Callers that got what another had just computed.", counter, func(s *cache.Stats) int64 { return s.Shared }),
		of("misses_total", "Times that nothing was there.", counter, func(s *cache.Stats) int64 { return s.Misses }),
		of("refreshes_total", "Stale values that were computed anew.", counter, func(s *cache.Stats) int64 { return s.Refreshes }),
		of("takeovers_total", "Computations that a waiting caller took over.", counter, func(s *cache.Stats) int64 { return s.Takeovers }),
		of("failures_total", "Computations that failed.", counter, func(s *cache.Stats) int64 { return s.Failures }),
		of("failed_total", "Callers that were given a failure that is kept.", counter, func(s *cache.Stats) int64 { return s.Failed }),
		of("too_large_total", "Values that did not fit.", counter, func(s *cache.Stats) int64 { return s.TooLarge }),
		of("evictions_total", "Values that made room for others.", counter, func(s *cache.Stats) int64 { return s.Evictions }),
	}
}

func upstreamMeasures() []measure[upstream.Stats] {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return []measure[upstream.Stats]{
		{"patchbay_upstream_max_connections", "The cap of the pool.", gauge, func(s upstream.Stats) float64 { return float64(s.MaxConns) }},
		{"patchbay_upstream_open_connections", "Connections that are open or being opened.", gauge, func(s upstream.Stats) float64 { return float64(s.Open) }},
		{"patchbay_upstream_idle_connections", "Open connections without a call.", gauge, func(s upstream.Stats) float64 { return float64(s.Idle) }},
		{"patchbay_upstream_in_use_connections", "Connections with a call.", gauge, func(s upstream.Stats) float64 { return float64(s.InUse) }},
		{"patchbay_upstream_waiting_calls", "Calls that wait for a connection.", gauge, func(s upstream.Stats) float64 { return float64(s.Waiting) }},
		{"patchbay_upstream_calls_total", "Calls.", counter, func(s upstream.Stats) float64 { return float64(s.Calls) }},
		{"patchbay_upstream_reused_total", "Calls that found an open connection.", counter, func(s upstream.Stats) float64 { return float64(s.Reused) }},
		{"patchbay_upstream_retries_total", "Calls that were sent again after a reused connection had died.", counter, func(s upstream.Stats) float64 { return float64(s.Retries) }},
		{"patchbay_upstream_pool_timeouts_total", "Calls that found no free connection in time.", counter, func(s upstream.Stats) float64 { return float64(s.PoolTimeouts) }},
		{"patchbay_upstream_turned_away_total", "Calls that found as many waiting as may.", counter, func(s upstream.Stats) float64 { return float64(s.TurnedAway) }},
		{"patchbay_upstream_dials_total", "Connections that were tried.", counter, func(s upstream.Stats) float64 { return float64(s.Dials) }},
		{"patchbay_upstream_dial_errors_total", "Connections that could not be made.", counter, func(s upstream.Stats) float64 { return float64(s.DialErrors) }},
		{"patchbay_upstream_dns_seconds_total", "Time to resolve names, for connections that were made.", counter, func(s upstream.Stats) float64 { return s.DNSSeconds }},
		{"patchbay_upstream_connect_seconds_total", "Time of TCP and TLS, for connections that were made.", counter, func(s upstream.Stats) float64 { return s.ConnectSeconds }},
		{"patchbay_upstream_received_bytes_total", "HTTP received, heads included.", counter, func(s upstream.Stats) float64 { return float64(s.BytesIn) }},
		{"patchbay_upstream_sent_bytes_total", "HTTP sent, heads included.", counter, func(s upstream.Stats) float64 { return float64(s.BytesOut) }},
	}
}

// namedMeasures are of the pools that belong to a named upstream.
func namedMeasures() []measure[*upstream.NamedStats] {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return []measure[*upstream.NamedStats]{
		{"patchbay_upstream_breaker_state", "0 closed, 1 half-open, 2 open.", gauge, func(s *upstream.NamedStats) float64 {
			switch s.Breaker {
			case "half-open":
				return 1
			case "open":
				return 2
			}
			return 0
		}},
		{"patchbay_upstream_refused_total", "Calls that found the breaker open.", counter, func(s *upstream.NamedStats) float64 { return float64(s.Refused) }},
		{"patchbay_upstream_call_retries_total", "Attempts beyond the first, of calls that may be sent again.", counter, func(s *upstream.NamedStats) float64 { return float64(s.Retries) }},
		{"patchbay_upstream_retries_over_budget_total", "Retries that the budget did not allow.", counter, func(s *upstream.NamedStats) float64 { return float64(s.OverBudget) }},
		{"patchbay_upstream_failovers_total", "Sendings to another endpoint because one could not be reached.", counter, func(s *upstream.NamedStats) float64 { return float64(s.Failovers) }},
	}
}

func endpointMeasures() []measure[upstream.EndpointStats] {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return []measure[upstream.EndpointStats]{
		{"patchbay_endpoint_up", "1 while calls go to the endpoint; 0 while it is left out.", gauge, func(e upstream.EndpointStats) float64 {
			if e.State == upstream.StateEjected || e.State == upstream.StateDown {
				return 0
			}
			return 1
		}},
		{"patchbay_endpoint_share_ratio", "The part of its weight that the endpoint has now.", gauge, func(e upstream.EndpointStats) float64 { return e.Share / e.Weight }},
		{"patchbay_endpoint_in_flight_calls", "Calls until the end of their answer.", gauge, func(e upstream.EndpointStats) float64 { return float64(e.InFlight) }},
		{"patchbay_endpoint_queued_calls", "Calls that wait inside the endpoint, by its own metrics.", gauge, func(e upstream.EndpointStats) float64 { return e.Queued }},
		{"patchbay_endpoint_load_calls", "Calls in flight and queued, for each unit of its share.", gauge, func(e upstream.EndpointStats) float64 { return e.Load }},
		{"patchbay_endpoint_head_seconds", "Time until the head of an answer, smoothed.", gauge, func(e upstream.EndpointStats) float64 { return e.HeadMillis / 1e3 }},
		{"patchbay_endpoint_open_connections", "Connections that are open or being opened.", gauge, func(e upstream.EndpointStats) float64 { return float64(e.Open) }},
		{"patchbay_endpoint_idle_connections", "Open connections without a call.", gauge, func(e upstream.EndpointStats) float64 { return float64(e.Idle) }},
		{"patchbay_endpoint_calls_total", "Calls that were sent, or tried to be.", counter, func(e upstream.EndpointStats) float64 { return float64(e.Calls) }},
		{"patchbay_endpoint_failures_total", "Calls that failed by the endpoint's fault.", counter, func(e upstream.EndpointStats) float64 { return float64(e.Failures) }},
		{"patchbay_endpoint_ejections_total", "Times that the endpoint was left out.", counter, func(e upstream.EndpointStats) float64 { return float64(e.Ejections) }},
		{"patchbay_endpoint_dials_total", "Connections that were tried.", counter, func(e upstream.EndpointStats) float64 { return float64(e.Dials) }},
		{"patchbay_endpoint_dial_errors_total", "Connections that could not be made.", counter, func(e upstream.EndpointStats) float64 { return float64(e.DialErrors) }},
		{"patchbay_endpoint_dns_seconds_total", "Time to resolve the name, for connections that were made.", counter, func(e upstream.EndpointStats) float64 { return e.DNSSeconds }},
		{"patchbay_endpoint_connect_seconds_total", "Time of TCP and TLS, for connections that were made.", counter, func(e upstream.EndpointStats) float64 { return e.ConnectSeconds }},
		{"patchbay_endpoint_received_bytes_total", "HTTP received, heads included.", counter, func(e upstream.EndpointStats) float64 { return float64(e.BytesIn) }},
		{"patchbay_endpoint_sent_bytes_total", "HTTP sent, heads included.", counter, func(e upstream.EndpointStats) float64 { return float64(e.BytesOut) }},
	}
}

func (m measure[T]) desc(labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(m.name, m.help, labels, nil)
}

// limitHits has a second label, the limit.
func limitHits() *prometheus.Desc {
	return prometheus.NewDesc("patchbay_plugin_limit_hits_total", "How often this generation met a limit, by its setting below plugins[].limits.", []string{"plugin", "limit"}, nil)
}

// recycled has a second label, the reason.
func recycled() *prometheus.Desc {
	return prometheus.NewDesc("patchbay_plugin_recycled_total", "Workers of this generation that were replaced though nothing was wrong: memory, requests or age.", []string{"plugin", "reason"}, nil)
}

// mode has a second label, of which one has the value 1.
func mode() *prometheus.Desc {
	return prometheus.NewDesc("patchbay_plugin_mode", "1 for how requests are served now: shared, fresh, degraded (fresh for a while, after traps) or open (refused).", []string{"plugin", "mode"}, nil)
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range pluginMeasures() {
		out <- m.desc("plugin")
	}
	out <- limitHits()
	out <- recycled()
	out <- mode()
	for _, m := range cacheMeasures() {
		out <- m.desc("plugin")
	}
	for _, m := range upstreamMeasures() {
		out <- m.desc("pool")
	}
	for _, m := range namedMeasures() {
		out <- m.desc("pool")
	}
	for _, m := range endpointMeasures() {
		out <- m.desc("upstream", "endpoint")
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	plugins, pools := c.app.Plugins(), c.app.Upstreams()
	for _, m := range pluginMeasures() {
		for _, p := range plugins {
			out <- prometheus.MustNewConstMetric(m.desc("plugin"), m.kind, m.value(p), p.Name)
		}
	}
	for _, p := range plugins {
		for name, hits := range p.Limits {
			out <- prometheus.MustNewConstMetric(limitHits(), prometheus.CounterValue, float64(hits), p.Name, name)
		}
		for reason, n := range p.Recycled {
			out <- prometheus.MustNewConstMetric(recycled(), prometheus.CounterValue, float64(n), p.Name, reason)
		}
		if p.Mode != "" {
			out <- prometheus.MustNewConstMetric(mode(), prometheus.GaugeValue, 1, p.Name, p.Mode)
		}
	}
	for _, m := range cacheMeasures() {
		for _, p := range plugins {
			if p.Cache != nil {
				out <- prometheus.MustNewConstMetric(m.desc("plugin"), m.kind, m.value(p), p.Name)
			}
		}
	}
	for _, m := range upstreamMeasures() {
		for _, s := range pools {
			out <- prometheus.MustNewConstMetric(m.desc("pool"), m.kind, m.value(s), s.Pool)
		}
	}
	for _, s := range pools {
		if s.Upstream == nil {
			continue
		}
		for _, m := range namedMeasures() {
			out <- prometheus.MustNewConstMetric(m.desc("pool"), m.kind, m.value(s.Upstream), s.Pool)
		}
		for _, m := range endpointMeasures() {
			for _, e := range s.Upstream.Endpoints {
				out <- prometheus.MustNewConstMetric(m.desc("upstream", "endpoint"), m.kind, m.value(e), s.Pool, e.Endpoint)
			}
		}
	}
}
