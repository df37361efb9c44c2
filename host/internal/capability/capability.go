// Package capability holds what the host does for a guest, one file per service, and decides whether a guest may
// have it. Nothing is allowed that the operator's grant does not name; a refusal is an error value that shows the
// line that is missing.
package capability

import (
	"log/slog"
	"sync/atomic"

	"github.com/patchbay-run/patchbay/host/internal/cache"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/events"
	"github.com/patchbay-run/patchbay/host/internal/topics"
	"github.com/patchbay-run/patchbay/host/internal/trace"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// Parts is what capabilities are made from, of one configuration.
type Parts struct {
	Upstreams *upstream.Set
	Client    config.Client
	Named     map[string]config.Upstream
	Secrets   *Secrets
	Cache     *cache.Cache
	Topics    *topics.Board // nil: nothing can be published
	Events    *events.Log
	Traces    *trace.Tracer // nil is off
}

// Host lends the parts that are in force. A call uses those it began with.
type Host struct{ parts atomic.Pointer[Parts] }

// NewHost makes a host with its first parts.
func NewHost(p *Parts) *Host {
	h := &Host{}
	h.parts.Store(p)
	return h
}

// Parts is what is in force now.
func (h *Host) Parts() *Parts { return h.parts.Load() }

// Swap puts other parts in force and returns those before; their owner closes them.
func (h *Host) Swap(p *Parts) *Parts { return h.parts.Swap(p) }

// Plugin is for whom they are made.
type Plugin struct {
	Name    string
	Grant   config.Grant
	Refused *Refusals
	Log     *slog.Logger

	EventRate int // events of its own that it may publish in a minute, and at once
}

// Topics are the grants of a configuration as a topics.Board takes them. Events are not among them: they are no state.
func Topics(grants []config.Publish) []topics.Grant {
	var list []topics.Grant
	for _, g := range grants {
		if g.Topic != abi.TopicEvents {
			list = append(list, topics.Grant{Topic: g.Topic, Public: g.Public})
		}
	}
	return list
}

type row struct {
	name string
	make func(*Host, Plugin, *Table)
}

// all is every capability that is asked for by an operation. Log and config need no grant and are part of the ABI itself.
func all() []row {
	return []row{
		{"fetch", newFetch},
		{"cache", newCache},
		{"publish", newPublish},
	}
}

// Table is what a plugin can ask for, by operation.
type Table struct {
	Slow  map[abi.OpCode]wasm.Capability
	Quick map[abi.OpCode]wasm.Quick
}

// For makes a plugin's capabilities. Those without a grant are there too: they refuse, and say how to grant them.
func For(h *Host, p Plugin) *Table {
	t := &Table{Slow: map[abi.OpCode]wasm.Capability{}, Quick: map[abi.OpCode]wasm.Quick{}}
	for _, r := range all() {
		r.make(h, p, t)
	}
	return t
}

// Names are the capabilities that a manifest may wish for.
func Names() []string {
	var names []string
	for _, r := range all() {
		names = append(names, r.name)
	}
	return append(names, "log", "config")
}

// refuse remembers what was refused, and says so to the guest.
func (p *Plugin) refuse(in *wasm.Operation, text string) error { return p.refuseAs(in, text, text) }

// refuseAs is refuse with a text for the operator's eyes alone, shown. What text says is logged, by the host and often by the guest: it
// has nothing in it that may be made of what a person typed.
func (p *Plugin) refuseAs(in *wasm.Operation, text, shown string) error {
	p.remember(in, text, shown)
	return &abi.Error{Code: abi.Denied, Text: text}
}

// remember keeps a refusal for the operator.
func (p *Plugin) remember(in *wasm.Operation, text, shown string) {
	if p.Refused.Add(text, shown) {
		p.Log.Warn("a call was refused", "why", text, "request", in.RequestID)
	}
}
