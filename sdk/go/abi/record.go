package abi

import "encoding/binary"

// Event is one record that the guest takes. Data, Len and Fields speak of the data buffer of the same take.
type Event struct {
	Kind   Kind
	Flags  uint16
	Code   uint32
	ID     uint64
	Data   uint32
	Len    uint32
	Fields uint32
	Arg    uint32
}

// Put writes e to the first EventSize bytes of b, which must be that long.
func (e *Event) Put(b []byte) {
	_ = b[EventSize-1]
	le := binary.LittleEndian
	le.PutUint16(b, uint16(e.Kind))
	le.PutUint16(b[2:], e.Flags)
	le.PutUint32(b[4:], e.Code)
	le.PutUint64(b[8:], e.ID)
	le.PutUint32(b[16:], e.Data)
	le.PutUint32(b[20:], e.Len)
	le.PutUint32(b[24:], e.Fields)
	le.PutUint32(b[28:], e.Arg)
}

// Get reads e from the first EventSize bytes of b, which must be that long.
func (e *Event) Get(b []byte) {
	_ = b[EventSize-1]
	le := binary.LittleEndian
	e.Kind = Kind(le.Uint16(b))
	e.Flags = le.Uint16(b[2:])
	e.Code = le.Uint32(b[4:])
	e.ID = le.Uint64(b[8:])
	e.Data = le.Uint32(b[16:])
	e.Len = le.Uint32(b[20:])
	e.Fields = le.Uint32(b[24:])
	e.Arg = le.Uint32(b[28:])
}

// Span is a stretch of the guest's memory.
type Span struct{ Ptr, Len uint32 }

// Op is one record that the guest submits.
type Op struct {
	Code    OpCode
	Flags   uint16
	Arg     uint32
	Request uint64
	ID      uint64
	Fields  Span
	Body    Span
	Name    Span
	Arg64   uint64
	Result  int32
}

// OpResult is the offset of the result within a record.
const OpResult = 56

// Put writes o to the first OpSize bytes of b, which must be that long.
func (o *Op) Put(b []byte) {
	_ = b[OpSize-1]
	le := binary.LittleEndian
	le.PutUint16(b, uint16(o.Code))
	le.PutUint16(b[2:], o.Flags)
	le.PutUint32(b[4:], o.Arg)
	le.PutUint64(b[8:], o.Request)
	le.PutUint64(b[16:], o.ID)
	le.PutUint32(b[24:], o.Fields.Ptr)
	le.PutUint32(b[28:], o.Fields.Len)
	le.PutUint32(b[32:], o.Body.Ptr)
	le.PutUint32(b[36:], o.Body.Len)
	le.PutUint32(b[40:], o.Name.Ptr)
	le.PutUint32(b[44:], o.Name.Len)
	le.PutUint64(b[48:], o.Arg64)
	le.PutUint32(b[56:], uint32(o.Result))
	le.PutUint32(b[60:], 0)
}

// Get reads o from the first OpSize bytes of b, which must be that long.
func (o *Op) Get(b []byte) {
	_ = b[OpSize-1]
	le := binary.LittleEndian
	o.Code = OpCode(le.Uint16(b))
	o.Flags = le.Uint16(b[2:])
	o.Arg = le.Uint32(b[4:])
	o.Request = le.Uint64(b[8:])
	o.ID = le.Uint64(b[16:])
	o.Fields = Span{le.Uint32(b[24:]), le.Uint32(b[28:])}
	o.Body = Span{le.Uint32(b[32:]), le.Uint32(b[36:])}
	o.Name = Span{le.Uint32(b[40:]), le.Uint32(b[44:])}
	o.Arg64 = le.Uint64(b[48:])
	o.Result = int32(le.Uint32(b[56:]))
}

// Handshake packs the guest's answer to the handshake.
func Handshake(version, features uint32) uint64 {
	return uint64(version)<<32 | uint64(features)
}

// SplitHandshake is the reverse of Handshake.
func SplitHandshake(answer uint64) (version, features uint32) {
	return uint32(answer >> 32), uint32(answer)
}
