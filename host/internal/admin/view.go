package admin

import (
	"slices"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/cache"
	"github.com/patchbay-run/patchbay/host/internal/capability"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
	"github.com/patchbay-run/patchbay/host/internal/topics"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// View is what is shown. Its methods are called from many requests at once, must not wait for
// guests, upstreams or reloads, and must give values that nobody changes afterwards. Nothing in
// them may be a secret: they are shown as they are.
type View interface {
	// Plugins lists the configured plugins in the order of the configuration.
	Plugins() []Plugin
	// Upstreams lists the pools, the shared one among them.
	Upstreams() []upstream.Stats
	// Capacity is how many users can be served, and every bound of it.
	Capacity() telemetry.Capacity
	// Config is the configuration in force with secrets as "***"; see config.Config.Redacted.
	Config() map[string]any
	// Ready says whether the server can do its work.
	Ready() Readiness
}

// The states of a plugin.
const (
	StateServing   = "serving"
	StateNotLoaded = "not loaded" // nothing answers for it
	StateStale     = "stale"      // an older generation serves: the newest file or configuration did not load
)

// Plugin is a configured plugin and the generation of it that serves.
type Plugin struct {
	Name      string    `json:"name"`
	Version   string    `json:"version,omitempty"` // of the manifest; "" when it is not loaded
	Digest    string    `json:"digest,omitempty"`  // of the file that was loaded; "" when it is not loaded
	Source    string    `json:"source"`
	Routes    []string  `json:"routes"`         // served, "METHOD /path"
	Since     time.Time `json:"since,omitzero"` // when this generation was loaded
	State     string    `json:"state"`
	Problem   string    `json:"problem,omitempty"` // why it is not loaded or stale
	Secrets   []string  `json:"secrets"`           // names of those granted and present
	Isolation string    `json:"isolation"`
	wasm.Stats
	Cache   *cache.Stats         `json:"cache,omitempty"` // nil without a grant
	Refused []capability.Refusal `json:"refused"`         // calls without a grant, oldest first

	Published []topics.State `json:"published"` // the topics that it is granted; their states at /api/plugins/{name} only
}

// Readiness is whether the server can do its work, and what is wrong. A problem that leaves it
// working, such as a stale plugin, is a reason while Ready is true.
type Readiness struct {
	Ready   bool     `json:"ready"`
	Reasons []Reason `json:"reasons"`
}

// Reason is one thing that is wrong.
type Reason struct {
	What    string    `json:"what"` // e.g. plugin "search"
	Problem string    `json:"problem"`
	Since   time.Time `json:"since,omitzero"`
}

// listed has [] where a list is empty, never null.
func (p Plugin) listed() Plugin {
	p.Routes, p.Secrets, p.Refused, p.Published = list(p.Routes), list(p.Secrets), list(p.Refused), list(p.Published)
	return p
}

// Listed is p as a list of plugins shows it: without what it has published, which may be 256 KiB in all, and with [] where a list
// is empty.
func (p Plugin) Listed() Plugin {
	p.Published = slices.Clone(p.Published) // the view may keep the list
	for i := range p.Published {
		p.Published[i].State = nil
	}
	return p.listed()
}

func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
