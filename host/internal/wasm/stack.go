package wasm

import (
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero/api"
)

// The meter counts how deep a guest's calls are nested (meter.Result.StackGlobal). wazero has a bound of its own behind that, of
// about 80 MB, which nobody can set.

// DefaultStack is what a pool allows where Options.Stack is zero, in bytes. MaxStack is the most that makes sense:
// estimates are within a factor of two of what wazero takes, and what is over its own bound would never be reached.
const (
	DefaultStack = 8 << 20
	MaxStack     = 32 << 20
)

// StackError says that a guest's calls were nested deeper than its stack allows.
type StackError struct {
	Limit int64  // bytes
	trace string // the guest's stack
}

// Error names the limit, with the guest's stack on further lines.
func (e *StackError) Error() string {
	return fmt.Sprintf("it used more stack than limits.stack (%s): recursion without end?%s", kibibytes(e.Limit), e.trace)
}

func kibibytes(n int64) string {
	if n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// enter calls a function of the guest with its whole stack before it. values is for its parameters and then for
// its results. Every call of the host goes through here.
func (w *worker) enter(f api.Function, values []uint64) error {
	limit := w.pool.options.Stack
	w.left.Set(uint64(limit))
	err := f.CallWithStack(w.ctx, values)
	if err != nil && int32(w.left.Get()) < 0 {
		_, trace, _ := strings.Cut(err.Error(), "\n")
		return &StackError{Limit: limit, trace: "\n" + trace}
	}
	return err
}
