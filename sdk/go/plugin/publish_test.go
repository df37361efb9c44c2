package plugin_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
	"github.com/patchbay-run/patchbay/sdk/go/plugin"
	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

func TestPublish(t *testing.T) {
	var invalid error = &plugin.FetchError{Code: abi.Invalid}
	type state struct {
		N int `json:"n"`
	}
	h := one(t, func(w *plugin.Response, r *plugin.Request) error {
		ctx := r.Context()
		for i, c := range []struct {
			ctx   context.Context
			topic string
			state any
			err   error
			text  string
		}{
			{ctx, "progress", state{1}, nil, ""},
			{ctx, "progress", &state{2}, nil, ""},
			{ctx, "gone", "x", nil, ""},
			{ctx, "gone", nil, nil, ""},
			{ctx, "news", state{1}, plugin.ErrDenied, "add to the plugin's grant: publish: [{topic: news}]"},
			{ctx, "progress", strings.Repeat("x", 16<<10-1), plugin.ErrTooLarge, `"progress" has 16385 bytes`},
			{ctx, "progress", math.NaN(), invalid, "encode the state"},
			{ctx, "", state{1}, invalid, ""},
			{ctx, strings.Repeat("x", 65), state{1}, invalid, ""},
			{context.Background(), "progress", state{3}, invalid, "Request.Context"},
			{ctx, plugin.Events, plugin.Event{Kind: "suspended", Subject: "a", Text: "why"}, nil, ""},
			{ctx, plugin.Events, plugin.Event{Kind: "suspended"}, invalid, ""},
			{ctx, plugin.Events, nil, invalid, ""},
			{ctx, plugin.Events, plugin.Event{Kind: "returned", Subject: "a"}, nil, ""},
			{ctx, plugin.Events, plugin.Event{Kind: "returned", Subject: "b"}, plugin.ErrLimit, "limits.events"},
		} {
			err := plugin.Publish(c.ctx, c.topic, c.state)
			if !errors.Is(err, c.err) || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("%d: %.80q: %v, want %v", i, c.topic, err, c.err)
			}
		}
		left, leave := context.WithCancel(ctx)
		leave()
		if err := plugin.Publish(left, "progress", state{4}); !errors.Is(err, context.Canceled) {
			t.Errorf("when nobody waits any more: %v", err)
		}
		return nil
	}, plugintest.Topics("progress", "gone", plugin.Events), plugintest.EventLimit(2))
	want(t, h.Do("GET", "/", nil), 200, "")
	if got := h.Published("progress"); got != `{"n":2}` {
		t.Errorf("the state is %s", got)
	}
	if got := h.Published("gone"); got != "" {
		t.Errorf("what was taken away is %s", got)
	}
	if got := h.Events(); !slices.Equal(got, []plugin.Event{{"suspended", "a", "why"}, {"returned", "a", ""}}) {
		t.Errorf("the events are %v", got)
	}
}

// TestPublishFromSetup: a plugin may say how it stands before its first request.
func TestPublishFromSetup(t *testing.T) {
	h := plugintest.New(t, func(p *plugin.Plugin) error { return plugin.Publish(p.Context(), "progress", "up") },
		plugintest.Manifest([]byte(`{"name":"k","version":"1.0.0","routes":[]}`)), plugintest.Topics("progress"))
	if err := h.SetupError(); err != nil || h.Published("progress") != `"up"` {
		t.Errorf("%v, %q", err, h.Published("progress"))
	}
}
