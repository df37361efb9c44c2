package wasm

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"strings"
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
	maxVectors       = 1024     // of one fd_write
	maxWritten       = 64 << 10 // bytes that one fd_write takes; the guest calls again for the rest
	maxRandom        = 16 << 10 // random bytes made at once
	lineFactor       = 16       // a byte written may be a line of its own
)

// instantiateWASI offers WASI by name, without files, arguments or environment, and puts the idle descriptor in:
// a guest with a scheduler of its own learns through it that nothing in it can run, and the host its next timer.
func instantiateWASI(ctx context.Context, r wazero.Runtime) error {
	b := r.NewHostModuleBuilder(wasi_snapshot_preview1.ModuleName)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(b)
	all, err := b.Compile(ctx)
	if err != nil {
		return err
	}
	defer all.Close(ctx)
	for name, f := range all.ExportedFunctions() {
		if refusedWASI(name) {
			b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(refuse), f.ParamTypes(), f.ResultTypes()).Export(name)
		}
	}
	four := []api.ValueType{i32, i32, i32, i32}
	two := []api.ValueType{i32, i32}
	one := []api.ValueType{i32}
	export := func(name string, params []api.ValueType, f api.GoModuleFunc) {
		b.NewFunctionBuilder().WithGoModuleFunction(f, params, one).Export(name)
	}
	export("poll_oneoff", four, pollOneoff)
	export("fd_fdstat_get", two, fdstatGet)
	export("fd_read", four, fdRead)
	export("fd_write", four, fdWrite)
	export("random_get", two, randomGet)
	_, err = b.Instantiate(ctx)
	return err
}

// refusedWASI says which functions answer EBADF whatever they are asked: all that are about files and sockets. They could find
// nothing, and wazero's would look at the arguments first: copy a path of any length, make room for whatever descriptor
// fd_renumber names, or follow a pointer to nowhere in fd_filestat_set_times. What is offered of them replaces this below.
func refusedWASI(name string) bool {
	return strings.HasPrefix(name, "fd_") || strings.HasPrefix(name, "path_") || strings.HasPrefix(name, "sock_")
}

func refuse(_ context.Context, _ api.Module, stack []uint64) { stack[0] = errnoBadf }

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
	w.worked(int(n) * callCost)
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
	w.worked(callCost)
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

// fdWrite logs what is written to descriptors 1 and 2. It takes a bounded part of it, since nothing stops a guest within a
// call of the host.
func fdWrite(ctx context.Context, m api.Module, stack []uint64) {
	fd, vectors, n, counted := uint32(stack[0]), uint32(stack[1]), uint32(stack[2]), uint32(stack[3])
	w := workerOf(ctx)
	if fd != 1 && fd != 2 || w == nil {
		stack[0] = errnoBadf
		return
	}
	stack[0] = errnoInval
	if n > maxVectors {
		return
	}
	stack[0] = errnoFault
	memory := m.Memory()
	list, ok := memory.Read(vectors, n*8)
	if !ok {
		return
	}
	written := uint32(0)
	for ; len(list) > 0 && written < maxWritten; list = list[8:] {
		le := binary.LittleEndian
		text, ok := memory.Read(le.Uint32(list), le.Uint32(list[4:]))
		if !ok {
			return
		}
		text = text[:min(len(text), int(maxWritten-written))]
		for rest := text; len(rest) > 0; {
			part := rest[:min(len(rest), lineCost)]
			w.streams[fd-1].write(part)
			w.worked(lineCost + len(part)*lineFactor)
			rest = rest[len(part):]
		}
		written += uint32(len(text))
		w.worked(callCost)
	}
	if !memory.WriteUint32Le(counted, written) {
		return
	}
	stack[0] = errnoSuccess
}

// randomGet fills the guest's buffer, however long, and looks at the worker's limits between.
func randomGet(ctx context.Context, m api.Module, stack []uint64) {
	b, ok := m.Memory().Read(uint32(stack[0]), uint32(stack[1]))
	w := workerOf(ctx)
	if !ok || w == nil {
		stack[0] = errnoFault
		return
	}
	for len(b) > 0 {
		part := b[:min(len(b), maxRandom)]
		_, _ = rand.Read(part) // it never fails
		b = b[len(part):]
		w.worked(callCost + len(part))
	}
	stack[0] = errnoSuccess
}
