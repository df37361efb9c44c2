package meter

import "github.com/patchbay-run/patchbay/host/internal/wasm/format"

// Costs in counts. They only have to keep the work between two ticks bounded, so they are coarse; a
// count is about one plain instruction.
const (
	costPlain  = 1
	costAccess = 2    // a load or a store, which may miss the caches
	costDivide = 8    // division, remainder, square root
	costCall   = 16   // also pays for a leaf
	costGrow   = 4096 // memory.grow, which asks the operating system for pages

	// leafCost is the most that a function without loops may cost and not be charged on entry: every call instruction
	// pays as much in advance. What calls another function costs more by its call and its end alone, so recursion always pays.
	leafCost = costCall
	// foldCost is the most that may stand around the loop that a function consists of, for the loop to pay for it
	// once per iteration.
	foldCost = 64
)

// costOf is the cost of a one-byte opcode.
func costOf(op byte) uint64 {
	switch {
	case op == format.OpCall || op == format.OpCallIndirect:
		return costCall
	case op == format.OpMemoryGrow:
		return costGrow
	case op >= format.OpLoadFirst && op <= format.OpStoreLast:
		return costAccess
	case op >= 0x6d && op <= 0x70, op >= 0x7f && op <= 0x82: // i32, i64: div and rem
		return costDivide
	case op == 0x91 || op == 0x95 || op == 0x9f || op == 0xa3: // f32, f64: sqrt and div
		return costDivide
	}
	return costPlain
}

// dampened is what a stretch of code pays. Most of a long stretch is skipped by branches (a Go function with resume points is
// one loop around everything), so what exceeds fullCost counts a sixteenth. That also bounds the
// error for a guest that runs all of it.
func dampened(cost uint64) uint64 {
	if cost > fullCost {
		return fullCost + (cost-fullCost)/16
	}
	return cost
}

const fullCost = 256
