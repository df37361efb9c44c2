package wasm

import (
	"testing"
	"time"
)

// TestStartsBackOff: after a calm time the first replacement comes at once; starts that go on failing do not.
func TestStartsBackOff(t *testing.T) {
	p := &Pool{born: time.Now().Add(-2 * restartCalm), restart: restartMax}
	for i, want := range []time.Duration{0, restartMin, 2 * restartMin, 4 * restartMin} {
		if got := p.backOff(); got != want {
			t.Errorf("start %d waits %v, want %v", i+1, got, want)
		}
	}
	for range 20 {
		p.backOff()
	}
	if got := p.backOff(); got != restartMax {
		t.Errorf("it waits %v at last, want %v", got, restartMax)
	}
}
