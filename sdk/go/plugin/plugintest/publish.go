package plugintest

import (
	"encoding/json"
	"unicode/utf8"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
	"github.com/patchbay-run/patchbay/sdk/go/internal/bridge"
	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// Topics grants topics to publish under, plugin.Events among them if it is named: see Host.Published and Host.Events.
func Topics(names ...string) Option {
	return func(h *Host) {
		for _, name := range names {
			h.topics[name] = ""
		}
	}
}

// EventLimit has the host take so many events in all, and refuse further ones as limits.events has a server do it.
func EventLimit(n int) Option { return func(h *Host) { h.eventLimit = &n } }

// Published is the state of a topic as JSON, "" when it has none.
func (h *Host) Published(topic string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.topics[topic]
}

// Events are those that the plugin has published, in their order.
func (h *Host) Events() []plugin.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]plugin.Event(nil), h.events...)
}

// publish is PUBLISH. Called with mu held. It leaves out what only the server does: how deep a state may be nested, and how many events may come in a minute.
func (h *Host) publish(op *bridge.Op) abi.Code {
	_, granted := h.topics[op.Name]
	switch {
	case op.ID != 0:
		return abi.NotFound
	case op.Name == "" || len(op.Name) > abi.MaxTopic:
		return abi.Invalid
	case !granted:
		return abi.Denied
	case len(op.Body) > abi.MaxState:
		return abi.TooLarge
	case len(op.Body) > 0 && (!json.Valid(op.Body) || !utf8.Valid(op.Body)):
		return abi.Invalid
	case op.Name == abi.TopicEvents:
		var e plugin.Event
		if json.Unmarshal(op.Body, &e) != nil || e.Kind == "" || e.Subject == "" {
			return abi.Invalid
		}
		if h.eventLimit != nil && len(h.events) >= *h.eventLimit {
			return abi.Limit
		}
		h.events = append(h.events, e)
	default:
		h.topics[op.Name] = string(op.Body)
	}
	return abi.OK
}
