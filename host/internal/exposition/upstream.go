package exposition

import "github.com/patchbay-run/patchbay/host/internal/upstream"

// poolMeasures are of each pool, the shared one among them.
func poolMeasures() []measure[upstream.Stats] {
	return []measure[upstream.Stats]{
		{"upstream_max_connections", "The cap of the pool.", gauge, func(s upstream.Stats) float64 { return float64(s.MaxConns) }},
		{"upstream_open_connections", "Connections that are open or being opened.", gauge, func(s upstream.Stats) float64 { return float64(s.Open) }},
		{"upstream_idle_connections", "Open connections without a call.", gauge, func(s upstream.Stats) float64 { return float64(s.Idle) }},
		{"upstream_in_use_connections", "Connections with a call.", gauge, func(s upstream.Stats) float64 { return float64(s.InUse) }},
		{"upstream_waiting_calls", "Calls that wait for a connection.", gauge, func(s upstream.Stats) float64 { return float64(s.Waiting) }},
		{"upstream_calls_total", "Calls.", counter, func(s upstream.Stats) float64 { return float64(s.Calls) }},
		{"upstream_reused_connections_total", "Calls that found an open connection.", counter, func(s upstream.Stats) float64 { return float64(s.Reused) }},
		{"upstream_resent_calls_total", "Calls that were sent again after a reused connection had died.", counter, func(s upstream.Stats) float64 { return float64(s.Retries) }},
		{"upstream_pool_timeouts_total", "Calls that found no free connection in time.", counter, func(s upstream.Stats) float64 { return float64(s.PoolTimeouts) }},
		{"upstream_turned_away_calls_total", "Calls that found as many waiting as may.", counter, func(s upstream.Stats) float64 { return float64(s.TurnedAway) }},
		{"upstream_dials_total", "Connections that were tried.", counter, func(s upstream.Stats) float64 { return float64(s.Dials) }},
		{"upstream_dial_errors_total", "Connections that could not be made.", counter, func(s upstream.Stats) float64 { return float64(s.DialErrors) }},
		{"upstream_dns_seconds_total", "Time to resolve names, for connections that were made.", counter, func(s upstream.Stats) float64 { return s.DNSSeconds }},
		{"upstream_connect_seconds_total", "Time of TCP and TLS, for connections that were made.", counter, func(s upstream.Stats) float64 { return s.ConnectSeconds }},
		{"upstream_received_bytes_total", "HTTP received, heads included.", counter, func(s upstream.Stats) float64 { return float64(s.BytesIn) }},
		{"upstream_sent_bytes_total", "HTTP sent, heads included.", counter, func(s upstream.Stats) float64 { return float64(s.BytesOut) }},
		{"upstream_wait_seconds_total", "Time that calls have waited for a connection.", counter, func(s upstream.Stats) float64 { return s.Waited }},
		{"upstream_held_seconds_total", "Time that calls have held connections, of calls that ended.", counter, func(s upstream.Stats) float64 { return s.Held }},
	}
}

// namedMeasures are of the pools that belong to a named upstream.
func namedMeasures() []measure[*upstream.NamedStats] {
	return []measure[*upstream.NamedStats]{
		{"upstream_breaker_state", "0 closed, 1 half-open, 2 open.", gauge, func(s *upstream.NamedStats) float64 {
			switch s.Breaker {
			case "half-open":
				return 1
			case "open":
				return 2
			}
			return 0
		}},
		{"upstream_refused_calls_total", "Calls that found the breaker open.", counter, func(s *upstream.NamedStats) float64 { return float64(s.Refused) }},
		{"upstream_retries_total", "Attempts beyond the first, of calls that may be sent again.", counter, func(s *upstream.NamedStats) float64 { return float64(s.Retries) }},
		{"upstream_retries_over_budget_total", "Retries that the budget did not allow.", counter, func(s *upstream.NamedStats) float64 { return float64(s.OverBudget) }},
		{"upstream_failovers_total", "Sendings to another endpoint because one could not be reached.", counter, func(s *upstream.NamedStats) float64 { return float64(s.Failovers) }},
	}
}

func endpointMeasures() []measure[upstream.EndpointStats] {
	return []measure[upstream.EndpointStats]{
		{"endpoint_up", "1 while calls go to the endpoint; 0 while it is left out.", gauge, func(e upstream.EndpointStats) float64 {
			return truth(e.State != upstream.StateEjected && e.State != upstream.StateDown)
		}},
		{"endpoint_share_ratio", "The part of its weight that the endpoint has now.", gauge, func(e upstream.EndpointStats) float64 { return e.Share / e.Weight }},
		{"endpoint_in_flight_calls", "Calls until the end of their answer.", gauge, func(e upstream.EndpointStats) float64 { return float64(e.InFlight) }},
		{"endpoint_queued_calls", "Calls that wait inside the endpoint, by its own metrics.", gauge, func(e upstream.EndpointStats) float64 { return e.Queued }},
		{"endpoint_load_calls", "Calls in flight and queued, for each unit of its share.", gauge, func(e upstream.EndpointStats) float64 { return e.Load }},
		{"endpoint_head_seconds", "Time until the head of an answer, smoothed.", gauge, func(e upstream.EndpointStats) float64 { return e.HeadMillis / 1e3 }},
		{"endpoint_open_connections", "Connections that are open or being opened.", gauge, func(e upstream.EndpointStats) float64 { return float64(e.Open) }},
		{"endpoint_idle_connections", "Open connections without a call.", gauge, func(e upstream.EndpointStats) float64 { return float64(e.Idle) }},
		{"endpoint_calls_total", "Calls that were sent, or tried to be.", counter, func(e upstream.EndpointStats) float64 { return float64(e.Calls) }},
		{"endpoint_failures_total", "Calls that failed by the endpoint's fault.", counter, func(e upstream.EndpointStats) float64 { return float64(e.Failures) }},
		{"endpoint_dials_total", "Connections that were tried.", counter, func(e upstream.EndpointStats) float64 { return float64(e.Dials) }},
		{"endpoint_dial_errors_total", "Connections that could not be made.", counter, func(e upstream.EndpointStats) float64 { return float64(e.DialErrors) }},
		{"endpoint_ejections_total", "Times that the endpoint was left out.", counter, func(e upstream.EndpointStats) float64 { return float64(e.Ejections) }},
		{"endpoint_dns_seconds_total", "Time to resolve the name, for connections that were made.", counter, func(e upstream.EndpointStats) float64 { return e.DNSSeconds }},
		{"endpoint_connect_seconds_total", "Time of TCP and TLS, for connections that were made.", counter, func(e upstream.EndpointStats) float64 { return e.ConnectSeconds }},
		{"endpoint_received_bytes_total", "HTTP received, heads included.", counter, func(e upstream.EndpointStats) float64 { return float64(e.BytesIn) }},
		{"endpoint_sent_bytes_total", "HTTP sent, heads included.", counter, func(e upstream.EndpointStats) float64 { return float64(e.BytesOut) }},
	}
}
