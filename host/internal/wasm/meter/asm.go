package meter

import "github.com/patchbay-run/patchbay/host/internal/wasm/format"

// asm writes instructions one after the other.
type asm struct{ b []byte }

// op appends opcodes and one-byte immediates.
func (a *asm) op(ops ...byte) *asm { a.b = append(a.b, ops...); return a }

// u32 appends an index.
func (a *asm) u32(v uint32) *asm { a.b = format.AppendU32(a.b, v); return a }

// i32 appends an i32.const.
func (a *asm) i32(v int32) *asm { a.b = format.AppendS32(append(a.b, format.OpI32Const), v); return a }

// i64 appends an i64.const.
func (a *asm) i64(v int64) *asm { a.b = format.AppendS64(append(a.b, format.OpI64Const), v); return a }

// get, set and tee append the instruction for local i.
func (a *asm) get(i uint32) *asm { return a.op(format.OpLocalGet).u32(i) }
func (a *asm) set(i uint32)      { a.op(format.OpLocalSet).u32(i) }
func (a *asm) tee(i uint32)      { a.op(format.OpLocalTee).u32(i) }
