package meter

// asm writes instructions one after the other.
type asm struct{ b []byte }

// op appends opcodes and one-byte immediates.
func (a *asm) op(ops ...byte) *asm { a.b = append(a.b, ops...); return a }

// u32 appends an index.
func (a *asm) u32(v uint32) *asm { a.b = appendU32(a.b, v); return a }

// i32 appends an i32.const.
func (a *asm) i32(v int32) *asm { a.b = appendS32(append(a.b, opI32Const), v); return a }

// i64 appends an i64.const.
func (a *asm) i64(v int64) *asm { a.b = appendS64(append(a.b, opI64Const), v); return a }

// get, set and tee append the instruction for local i.
func (a *asm) get(i uint32) *asm { return a.op(opLocalGet).u32(i) }
func (a *asm) set(i uint32)      { a.op(opLocalSet).u32(i) }
func (a *asm) tee(i uint32) *asm { return a.op(opLocalTee).u32(i) }
