package exposition

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/patchbay-run/patchbay/host/internal/cache"
)

func pluginMeasures() []measure[Plugin] {
	return []measure[Plugin]{
		{"plugin_up", "1 while a generation of the plugin serves.", gauge, func(p Plugin) float64 { return truth(p.Up) }},
		{"plugin_stale", "1 while an older generation serves because the newest did not load.", gauge, func(p Plugin) float64 { return truth(p.Stale) }},
		{"plugin_workers", "Workers that run.", gauge, func(p Plugin) float64 { return float64(p.Now.Workers) }},
		{"plugin_max_workers", "Workers that may run.", gauge, func(p Plugin) float64 { return float64(p.Now.Bound) }},
		{"plugin_instances", "Instances that serve one request each.", gauge, func(p Plugin) float64 { return float64(p.Now.Instances) }},
		{"plugin_retiring_workers", "Workers that are replaced and end with their last request.", gauge, func(p Plugin) float64 { return float64(p.Now.Retiring) }},
		{"plugin_in_flight_requests", "Requests that the serving generation holds.", gauge, func(p Plugin) float64 { return float64(p.Now.InFlight) }},
		{"plugin_mailbox_events", "Events that no worker has taken yet.", gauge, func(p Plugin) float64 { return float64(p.Now.Waiting) }},
		{"plugin_memory_bytes", "Linear memory of the workers.", gauge, func(p Plugin) float64 { return float64(p.Now.Memory) }},
		{"plugin_requests_total", "Requests that the plugin was given, by all generations.", counter, func(p Plugin) float64 { return float64(p.Total.Requests) }},
		{"plugin_cpu_seconds_total", "Time that the plugin's guests have computed, all generations.", counter, func(p Plugin) float64 { return p.Total.Busy }},
		{"plugin_traps_total", "Workers that trapped, of all generations.", counter, func(p Plugin) float64 { return float64(p.Total.Traps) }},
		{"plugin_swaps_total", "Generations that took over from another.", counter, func(p Plugin) float64 { return float64(p.Total.Swaps) }},
	}
}

func cacheMeasures() []measure[*cache.Stats] {
	of := func(name, help string, kind prometheus.ValueType, value func(*cache.Stats) int64) measure[*cache.Stats] {
		return measure[*cache.Stats]{"cache_" + name, help, kind, func(s *cache.Stats) float64 { return float64(value(s)) }}
	}
	return []measure[*cache.Stats]{
		of("entries", "Values that are kept.", gauge, func(s *cache.Stats) int64 { return int64(s.Entries) }),
		of("bytes", "Bytes of keys and values, with what an entry costs.", gauge, func(s *cache.Stats) int64 { return s.Bytes }),
		of("limit_bytes", "Bytes that the plugin may keep.", gauge, func(s *cache.Stats) int64 { return s.Limit }),
		of("waiting_callers", "Callers that wait for another's computation.", gauge, func(s *cache.Stats) int64 { return int64(s.Waiting) }),
		of("hits_total", "Fresh values given out.", counter, func(s *cache.Stats) int64 { return s.Hits }),
		of("stale_hits_total", "Values given out past their time to live.", counter, func(s *cache.Stats) int64 { return s.Stale }),
		of("shared_results_total", "Callers that got what another had just computed.", counter, func(s *cache.Stats) int64 { return s.Shared }),
		of("misses_total", "Times that nothing was there.", counter, func(s *cache.Stats) int64 { return s.Misses }),
		of("refreshes_total", "Stale values that were computed anew.", counter, func(s *cache.Stats) int64 { return s.Refreshes }),
		of("takeovers_total", "Computations that a waiting caller took over.", counter, func(s *cache.Stats) int64 { return s.Takeovers }),
		of("failures_total", "Computations that failed.", counter, func(s *cache.Stats) int64 { return s.Failures }),
		of("failed_hits_total", "Callers that were given a failure that is kept.", counter, func(s *cache.Stats) int64 { return s.Failed }),
		of("too_large_values_total", "Values that did not fit.", counter, func(s *cache.Stats) int64 { return s.TooLarge }),
		of("evictions_total", "Values that made room for others.", counter, func(s *cache.Stats) int64 { return s.Evictions }),
	}
}
