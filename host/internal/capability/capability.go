// Package capability holds what the host does for a guest, one file per service, and decides whether a guest may
// have it. Nothing is allowed that the operator's grant does not name; a refusal is an error value that shows the
// line that is missing.
package capability

import (
	"log/slog"
	"sync/atomic"

	"github.com/patchbay-run/patchbay/host/internal/config"
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
}

type row struct {
	code abi.OpCode
	name string
	make func(*Host, Plugin) wasm.Capability
}

// all is every capability that is asked for by an operation. Log and config need no grant and are part of the ABI itself.
func all() []row {
	return []row{
		{abi.OpFetch, "fetch", newFetch},
	}
}

// For makes a plugin's capabilities. Those without a grant are there too: they refuse, and say how to grant them.
func For(h *Host, p Plugin) map[abi.OpCode]wasm.Capability {
	table := make(map[abi.OpCode]wasm.Capability, len(all()))
	for _, r := range all() {
		table[r.code] = r.make(h, p)
	}
	return table
}

// Known says whether a manifest may wish for a capability of that name.
func Known(name string) bool {
	for _, r := range all() {
		if r.name == name {
			return true
		}
	}
	return name == "log" || name == "config"
}
