package exposition

import "github.com/patchbay-run/patchbay/host/internal/telemetry"

// hostMeasures are of the server itself.
func hostMeasures() []measure[State] {
	return []measure[State]{
		{"feed_clients", "Clients of the websocket feed.", gauge, func(s State) float64 { return float64(s.Feed.Clients) }},
		{"feed_topics", "Topics of the websocket feed, published ones included.", gauge, func(s State) float64 { return float64(s.Feed.Topics) }},
		{"feed_frames_total", "Frames sent to clients of the feed.", counter, func(s State) float64 { return float64(s.Feed.Frames) }},
		{"feed_sent_bytes_total", "Bytes of these frames.", counter, func(s State) float64 { return float64(s.Feed.Bytes) }},
		{"feed_dropped_clients_total", "Clients of the feed that were cut because they did not read.", counter, func(s State) float64 { return float64(s.Feed.Dropped) }},
		{"feed_refused_clients_total", "Clients of the feed that found no place.", counter, func(s State) float64 { return float64(s.Feed.Refused) }},
		{"feed_history_held_bytes", "History on its way to clients of the feed; live.max_history bounds it.", gauge, func(s State) float64 { return float64(s.Feed.HistoryHeld) }},
		{"feed_history_refused_total", "Answers of the feed whose history was left out, over live.max_history.", counter, func(s State) float64 { return float64(s.Feed.HistoryRefused) }},
		{"config_last_reload_successful", "1 while the newest configuration is in force, 0 while it was not taken.", gauge, func(s State) float64 { return truth(!s.Config.Failed) }},
		{"config_last_reload_success_timestamp_seconds", "When the configuration in force was taken.", gauge, func(s State) float64 { return s.Config.Applied }},
		{"capacity_requests_per_second", "Requests of the present mix that can be served in a second.", gauge, func(s State) float64 { return s.Capacity.Rate }},
		{"capacity_service_seconds", "Time that a request takes when it waits for no connection.", gauge, func(s State) float64 { return s.Capacity.Basis.ServiceSeconds }},
		{"capacity_max_connections", "server.max_conns; 0 is no bound.", gauge, func(s State) float64 { return float64(s.Capacity.Basis.MaxConnections) }},
	}
}

// boundMeasures are of each thing that bounds how many requests can be served.
func boundMeasures() []measure[telemetry.CapacityBound] {
	return []measure[telemetry.CapacityBound]{
		{"capacity_bound_requests_per_second", "Requests of the present mix that the bound allows in a second.", gauge, func(b telemetry.CapacityBound) float64 { return b.Rate }},
		{"capacity_bound_utilization_ratio", "The part of the bound that is in use, over five minutes or more.", gauge, func(b telemetry.CapacityBound) float64 { return b.Utilization }},
		{"capacity_bound_demand_seconds", "For how long a request holds what is bounded, on average over all requests.", gauge, func(b telemetry.CapacityBound) float64 { return b.Demand }},
	}
}
