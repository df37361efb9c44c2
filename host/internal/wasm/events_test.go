package wasm_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/events"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
)

// told keeps what a pool says of its workers.
type told struct {
	mu   sync.Mutex
	list []events.Kind
	text string // of the first
}

func (l *told) event(kind events.Kind, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, kind)
	if l.text == "" {
		l.text = text
	}
}

func (l *told) kinds() []events.Kind {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list)
}

// TestEvents: each thing that happens to the workers is told once, in its order.
func TestEvents(t *testing.T) {
	var l told
	k := startKitchen(t, func(o *wasm.Options) {
		o.Event = l.event
		o.Recycle.Requests = 1
		o.Faults = wasm.Faults{Traps: 2, Row: 2, Quiet: 3 * time.Hour, Rest: time.Hour, RestMax: time.Hour}
	})
	for range 4 { // two in shared workers, two alone
		if _, err := k.do(t, "GET /exit", ""); err == nil {
			t.Fatal("it answered")
		}
	}
	k.Later(time.Hour)
	k.must(t, "GET /word", "")
	k.Later(3 * time.Hour)
	k.must(t, "GET /word", "")
	want := []events.Kind{
		events.PluginTrapped, events.PluginTrapped, events.PluginDegraded, events.PluginTrapped, events.PluginTrapped, events.PluginOpened,
		events.PluginClosed, events.PluginRecovered, events.PluginRecycled,
	}
	soon(t, func() bool { return len(l.kinds()) >= len(want) })
	if got := l.kinds(); !slices.Equal(got, want) {
		t.Errorf("it told %v, want %v", got, want)
	}
	if !strings.HasSuffix(l.text, "; failed with it: test") {
		t.Errorf("of the first trap it says %q", l.text)
	}
}
