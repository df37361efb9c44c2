package live

import "github.com/patchbay-run/patchbay/host/internal/telemetry"

// Topics are the two that every listener may show: system and http.
func Topics(s *telemetry.System, t *telemetry.Tracker) []Topic {
	return []Topic{
		{Name: "system", State: func() any { return s.Snapshot() }},
		{Name: "http", State: func() any { return t.Snapshot() }},
	}
}
