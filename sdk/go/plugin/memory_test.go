package plugin

import (
	"testing"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
	"github.com/patchbay-run/patchbay/sdk/go/internal/bridge"
)

// started is a host that hears of READY and of nothing else.
type started struct {
	bridge.Host
	ready chan abi.OpCode
}

func (s started) Submit(op *bridge.Op) abi.Code {
	s.ready <- op.Code
	return abi.OK
}

// A limit of nothing would have the heap collected without end: a host that tells none, or nonsense, changes nothing.
func TestMemoryOfTheWorker(t *testing.T) {
	for value, want := range map[string]int64{"33554432": 32 << 20, "0": 0, "-1": 0, "": 0, "64MiB": 0} {
		host, told := started{ready: make(chan abi.OpCode, 1)}, int64(0)
		rt := newRuntime(host, func(*Plugin) error { return nil })
		rt.onMemory = func(bytes int64) { told = bytes }
		rt.mu.Lock()
		rt.configure(abi.AppendBlock(nil, []abi.Field{{Name: ":memory", Value: value}}))
		rt.mu.Unlock()
		if code := <-host.ready; code != abi.OpReady || told != want {
			t.Errorf("%q: told %d, want %d; then %v", value, told, want, code)
		}
	}
}
