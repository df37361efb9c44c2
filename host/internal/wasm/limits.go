package wasm

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/tetratelabs/wazero/experimental"
)

// limit is one of the bounds of what a plugin may take.
type limit int

const (
	limitMemory   limit = iota // growth that was refused
	limitCPU                   // workers that were ended
	limitTimeout               // requests
	limitInFlight              // requests
	limitAnswer                // requests
	limitHeaders               // requests
	limitFetches               // fetches that were refused
	limitLog                   // lines that were left out
	limitBodies                // operations that were refused, and reads that had to wait
	limitStack                 // workers that were ended
	limitEvents                // events of its own that were refused
	limitCount
)

// limitNames are the settings below plugins[].limits, and what metrics call them. Bodies are bound by memory.
func limitNames() [limitCount]string {
	return [limitCount]string{
		limitMemory: "memory", limitCPU: "cpu", limitTimeout: "timeout", limitInFlight: "in_flight", limitAnswer: "answer",
		limitHeaders: "headers", limitFetches: "fetches", limitLog: "log", limitBodies: "bodies", limitStack: "stack", limitEvents: "events",
	}
}

// limitCounts says how often each limit was met.
type limitCounts [limitCount]atomic.Int64

func (c *limitCounts) hit(l limit) { c[l].Add(1) }

// byName is for people and metrics. Each limit is there, also when it was never met.
func (c *limitCounts) byName() map[string]int64 {
	counts := make(map[string]int64, limitCount)
	for l, name := range limitNames() {
		counts[name] = c[l].Load()
	}
	return counts
}

// ended counts the limit that a request or a worker ended by, if it was one. What ended by its worker's end is that one's.
func (c *limitCounts) ended(err error) {
	if err == nil {
		return
	}
	var trap *TrapError
	var fresh *FreshError
	if errors.As(err, &trap) || errors.As(err, &fresh) {
		return
	}
	var cpu *CPUError
	var answer *AnswerError
	var headers *HeadersError
	var stack *StackError
	switch {
	case errors.As(err, &cpu):
		c.hit(limitCPU)
	case errors.As(err, &stack):
		c.hit(limitStack)
	case errors.Is(err, ErrTimeout):
		c.hit(limitTimeout)
	case errors.Is(err, ErrFull):
		c.hit(limitInFlight)
	case errors.As(err, &answer):
		c.hit(limitAnswer)
	case errors.As(err, &headers):
		c.hit(limitHeaders)
	}
}

func (p *Pool) hit(l limit) { p.limits.hit(l) }

// MemoryError says that a guest came to its end when it was refused memory.
type MemoryError struct {
	Limit int64 // bytes
	Cause error // the trap
}

// Error names the limit.
func (e *MemoryError) Error() string {
	return fmt.Sprintf("it was refused memory over limits.memory (%d KiB): %v", e.Limit>>10, e.Cause)
}

// Unwrap gives the trap.
func (e *MemoryError) Unwrap() error { return e.Cause }

// blame names limits.memory as the reason of a fault when the guest was refused memory in the poll that ended so: few guests can go
// on without, and what they die of then tells nobody why. Only the goroutine that polls may call it.
func (w *worker) blame(fault error) error {
	var cpu *CPUError
	if !w.refused || errors.Is(fault, errStopped) || errors.As(fault, &cpu) {
		return fault
	}
	return &MemoryError{Limit: w.pool.options.Memory, Cause: fault}
}

// bounded is a worker's linear memory that says when growth beyond the limit was refused.
type bounded struct {
	experimental.LinearMemory
	worker *worker
}

// Reallocate implements experimental.LinearMemory.
func (b *bounded) Reallocate(size uint64) []byte {
	memory := b.LinearMemory.Reallocate(size)
	if memory == nil && size > uint64(b.worker.pool.options.Memory) {
		b.worker.refused = true
		b.worker.pool.hit(limitMemory)
	}
	return memory
}

// allocator hands a memory to the one instance that is made with it.
func (w *worker) allocator(memory experimental.LinearMemory) experimental.MemoryAllocator {
	return experimental.MemoryAllocatorFunc(func(_, _ uint64) experimental.LinearMemory { return &bounded{memory, w} })
}
