//go:build wasip1

package plugin

import (
	"math"
	goruntime "runtime"
	"runtime/debug"
)

// heap has the collector run less often while there is memory: it looks at the stack of each request that waits, which is dear in a module. When half
// of the worker's memory is in use, all is as Go has it: a limit that what lives is beyond would have it collected all the time.
type heap struct {
	memory  uint64 // bytes that the worker may have; 0 leaves all as it is
	percent int    // of what lives, that may be added until it is collected, as it was set here
	limit   int64  // likewise set here, from which on it is collected sooner; 0 is not yet
}

const (
	seldom = 300
	often  = 100
)

// begin is called with what the host tells, before a plugin's setup, which may say otherwise.
func (h *heap) begin(memory int64) {
	h.memory = uint64(memory)
	h.set(seldom, memory/8*5)
}

func (h *heap) set(percent int, limit int64) {
	if was := debug.SetGCPercent(percent); h.percent != 0 && was != h.percent { // the plugin did
		debug.SetGCPercent(was)
		percent, limit, h.memory = was, math.MaxInt64, 0 // nobody would lift a limit of ours later
	}
	h.percent = percent
	if was := debug.SetMemoryLimit(limit); h.limit != 0 && was != h.limit { // the plugin did
		debug.SetMemoryLimit(was)
		return
	}
	h.limit = limit
}

// look is called now and then.
func (h *heap) look() {
	if h.memory == 0 {
		return
	}
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	switch used := m.HeapInuse + m.StackInuse; {
	case h.percent == seldom && used > h.memory/2:
		h.set(often, math.MaxInt64)
	case h.percent == often && used < h.memory/4:
		h.set(seldom, int64(h.memory/8*5))
	}
}
