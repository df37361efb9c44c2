package wasm

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// Numbers of WASI preview 1 (github.com/WebAssembly/WASI, legacy/preview1/docs.md).
const (
	errnoSuccess = 0
	errnoAgain   = 6
	errnoBadf    = 8
	errnoFault   = 21
	errnoInval   = 28

	subscriptionSize = 48
	eventSize        = 32
	fdstatSize       = 24

	filetypeCharacterDevice = 2
	filetypeSocketStream    = 6
	fdflagNonblock          = 4
	eventtypeClock          = 0
	clockAbstime            = 1
	clockRealtime           = 0

	maxSubscriptions = 4096
)

// instantiateWASI offers WASI by name, without files, arguments or environment, and puts the idle descriptor in:
// a guest with a scheduler of its own learns through it that nothing in it can run, and the host its next timer.
func instantiateWASI(ctx context.Context, r wazero.Runtime) error {
	b := r.NewHostModuleBuilder(wasi_snapshot_preview1.ModuleName)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(b)
	four := []api.ValueType{i32, i32, i32, i32}
	two := []api.ValueType{i32, i32}
	one := []api.ValueType{i32}
	export := func(name string, params []api.ValueType, f api.GoModuleFunc) {
		b.NewFunctionBuilder().WithGoModuleFunction(f, params, one).Export(name)
	}
	export("poll_oneoff", four, pollOneoff)
	export("fd_fdstat_get", two, fdstatGet)
	export("fd_read", four, fdRead)
	_, err := b.Instantiate(ctx)
	return err
}

// pollOneoff never waits. A clock of zero is answered by the clock alone: something may still be runnable.
// Else the guest is idle: the shortest clock is its next timer and every other subscription is ready.
func pollOneoff(ctx context.Context, m api.Module, stack []uint64) {
	in, out, n, counted := uint32(stack[0]), uint32(stack[1]), uint32(stack[2]), uint32(stack[3])
	stack[0] = errnoInval
	if n == 0 || n > maxSubscriptions {
		return
	}
	stack[0] = errnoFault
	memory := m.Memory()
	subscriptions, ok := memory.Read(in, n*subscriptionSize)
	if !ok {
		return
	}
	events, ok := memory.Read(out, n*eventSize)
	if !ok {
		return
	}
	w := workerOf(ctx)
	if w == nil { // nothing polls within _initialize of a module that keeps to the ABI
		stack[0] = errnoInval
		return
	}
	clock, delay := nextClock(subscriptions, w.pool.module.engine.nanotime)
	busy := clock && delay == 0
	if !busy {
		w.idled(clock, delay)
	}
	written := uint32(0)
	for ; len(subscriptions) > 0; subscriptions = subscriptions[subscriptionSize:] {
		if isClock := subscriptions[8] == eventtypeClock; isClock != busy {
			continue
		}
		e := events[written*eventSize:][:eventSize]
		clear(e)
		copy(e[:8], subscriptions[:8]) // userdata
		e[10] = subscriptions[8]
		written++
	}
	if !memory.WriteUint32Le(counted, written) {
		return
	}
	stack[0] = errnoSuccess
}

// nextClock is the shortest time until one of the clocks among the subscriptions rings.
func nextClock(subscriptions []byte, nanotime func() int64) (found bool, delay time.Duration) {
	le := binary.LittleEndian
	for ; len(subscriptions) > 0; subscriptions = subscriptions[subscriptionSize:] {
		s := subscriptions[:subscriptionSize]
		if s[8] != eventtypeClock {
			continue
		}
		d := time.Duration(min(le.Uint64(s[24:]), 1<<62))
		if le.Uint16(s[40:])&clockAbstime != 0 {
			now := time.Duration(nanotime())
			if le.Uint32(s[16:]) == clockRealtime {
				now = time.Duration(time.Now().UnixNano())
			}
			d = max(d-now, 0)
		}
		if !found || d < delay {
			found, delay = true, d
		}
	}
	return found, delay
}

func fdstatGet(_ context.Context, m api.Module, stack []uint64) {
	fd, at := uint32(stack[0]), uint32(stack[1])
	if fd > 2 && fd != abi.IdleFD {
		stack[0] = errnoBadf
		return
	}
	b, ok := m.Memory().Read(at, fdstatSize)
	if !ok {
		stack[0] = errnoFault
		return
	}
	clear(b)
	b[0] = filetypeCharacterDevice
	if fd == abi.IdleFD {
		b[0], b[2] = filetypeSocketStream, fdflagNonblock
	}
	stack[0] = errnoSuccess
}

// fdRead says EAGAIN and one byte in turn, so that a guest parks on the descriptor once per round.
func fdRead(ctx context.Context, m api.Module, stack []uint64) {
	w := workerOf(ctx)
	if uint32(stack[0]) != abi.IdleFD || w == nil {
		stack[0] = errnoBadf
		return
	}
	w.readable = !w.readable
	if w.readable {
		stack[0] = errnoAgain
		return
	}
	if !m.Memory().WriteUint32Le(uint32(stack[3]), 1) {
		stack[0] = errnoFault
		return
	}
	stack[0] = errnoSuccess
}
