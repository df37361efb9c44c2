// Package meter rewrites a WebAssembly module at load time so that no guest can keep the processor,
// or grow a table, a memory or the machine stack past its cap, without the host having a say.
//
// It is bytes in, bytes out: no file, no clock, no engine. The rewritten module counts instructions
// in a global variable of its own, and calls one imported host function, the tick, whenever its budget
// is used up. The host decides there: charge time, stop the guest, or hand out the next budget.
//
// A count is about one plain instruction. A function pays on entry for everything in it that lies outside loops, a loop
// for its body once per iteration, and a bulk instruction by its length, so nothing runs for free, but branches
// that skip code make the true figure smaller. Counts only decide when the tick comes: time is measured by
// the host inside it, and the host chooses its budgets by that.
//
// The module counts its machine stack too: how many bytes are left to the next call is another global, which the host sets
// before it calls and which a function that would go below zero leaves there when it traps. What a frame takes is an estimate.
//
// The package does not validate types. It checks everything it reads and refuses what it does not know, and
// the engine validates its output like any other module.
package meter

// Result is a rewritten module and what the host needs in order to run it.
type Result struct {
	// Module is the rewritten binary. It shares no memory with the input.
	Module []byte
	// ImportModule and ImportTick name the one function the host must offer: no parameters, one i64
	// result. The guest calls it when it cannot pay, and the result is the next budget, in counts; with zero or less
	// the next check ticks again. The first check after instantiation always ticks. To stop the guest, the function
	// panics with an error, which the engine returns from the running call. Nothing but the guest and this result writes the
	// counter, so the two cannot race.
	ImportModule, ImportTick string
	// StackGlobal names the exported global, a mutable i32, that says how many bytes of machine stack are left. The host sets it
	// before each of its calls. A trap that leaves it below zero is of a guest that would have taken more.
	StackGlobal string

	// Functions is how many functions the guest defines, Loops how many loops count down, and
	// BulkSites how many instructions were replaced or given a charge by length.
	Functions, Loops, BulkSites int
	// Imports lists what the guest asks for, in the order of its import section, without the tick.
	Imports []Import
	// HasMemory says that the guest defines a memory; then MemoryMin and MemoryMax are its limits after
	// clamping, in pages of 64 KiB.
	HasMemory            bool
	MemoryMin, MemoryMax uint32
	// Dropped names the custom sections that were left out, because rewriting makes them wrong or because they were malformed.
	Dropped []string
}

// Import is one thing a guest asks the host for.
type Import struct {
	Module, Name string
	// Kind is "func", "table", "memory" or "global".
	Kind string
}

// Rewrite meters a binary module. The time and memory it takes are linear in len(module) whatever the bytes are,
// and it does not keep or change them. Its errors wrap ErrMalformed, ErrUnsupported, ErrReserved or ErrLimit; the last is
// also a *LimitError.
func Rewrite(module []byte, opt Options) (Result, error) {
	opt = opt.withDefaults()
	if err := opt.check(); err != nil {
		return Result{}, err
	}
	m, err := parse(module, opt)
	if err != nil {
		return Result{}, err
	}
	rw := newRewriter(m, opt)
	if err := rw.bodies(); err != nil {
		return Result{}, err
	}
	out, err := rw.assemble()
	if err != nil {
		return Result{}, err
	}
	return Result{
		Module:       out,
		ImportModule: opt.Module,
		ImportTick:   opt.Tick,
		StackGlobal:  opt.stackGlobal(),
		Functions:    len(m.bodies),
		Loops:        rw.loops,
		BulkSites:    rw.bulkSites,
		Imports:      m.imports,
		HasMemory:    m.memories > 0 && !m.memoryImported,
		MemoryMin:    m.memoryMin,
		MemoryMax:    m.memoryMax,
		Dropped:      rw.dropped,
	}, nil
}
