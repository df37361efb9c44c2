package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/events"
)

// happened are the events after a seq, oldest first, as "kind subject".
func (p *patchbay) happened(after uint64) []string {
	p.Helper()
	v := decode[events.View](p.T, p.admins(fmt.Sprintf("/api/events?after=%d", after)))
	var list []string
	for _, e := range v.Events {
		list = append(list, fmt.Sprint(e.Kind, " ", strings.ReplaceAll(e.Subject, p.file, "FILE")))
	}
	slices.Reverse(list)
	return list
}

// happens waits for events that come after what was there before do, in this order, and no others.
func (p *patchbay) happens(do func(), want ...string) {
	p.Helper()
	before := decode[events.View](p.T, p.admins("/api/events")).Total
	do()
	defer func() {
		if p.Failed() {
			p.Logf("it told %q, want %q", p.happened(before), want)
		}
	}()
	eventually(p.T, strings.Join(want, ", "), func() bool { return slices.Equal(p.happened(before), want) })
}

// TestEventsOfReloads: what a reload brings, or does not bring, is told once.
func TestEventsOfReloads(t *testing.T) {
	wasm, err := os.ReadFile(guest(t, "models"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "models.wasm")
	write(t, file, string(wasm))
	s := setup{plugins: "models", modelsWasm: file}
	p := serve(t, s)
	if got, want := p.happened(0), []string{"config.applied FILE", "plugin.loaded models"}; !slices.Equal(got, want) {
		t.Errorf("at the start: %q, want %q", got, want)
	}
	p.happens(func() { replace(t, file, "no module") }, "plugin.failed models")
	p.happens(func() { replace(t, p.file, s.yaml(t)+"nonsense: 1\n") }, "config.rejected FILE")
	p.happens(func() { replace(t, p.file, s.yaml(t)) }, "config.applied FILE")
	p.happens(func() { replace(t, file, string(wasm)) }, "plugin.loaded models")
	s.limits = "cpu: 9s"
	p.happens(func() { replace(t, p.file, s.yaml(t)) }, "config.applied FILE", "plugin.swapped models", "plugin.retired models")
	s.gpustack = newGPUStack(t, nil).url // the plugin goes on, with another upstream
	p.happens(func() { replace(t, p.file, s.yaml(t)) }, "config.applied FILE")
	none, _, _ := strings.Cut(s.yaml(t), "plugins:")
	p.happens(func() { replace(t, p.file, none) }, "config.applied FILE", "plugin.removed models", "plugin.retired models")
}
