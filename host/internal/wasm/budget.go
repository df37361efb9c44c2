package wasm

import (
	"io"
	"sync/atomic"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// budget bounds something that one worker has under way in the host. It is safe for concurrent use.
type budget struct {
	limit int64 // 0 is no bound
	used  atomic.Int64
}

// take counts n more, unless that is over the limit.
func (b *budget) take(n int) bool {
	if used := b.used.Add(int64(n)); b.limit > 0 && used > b.limit {
		b.give(n)
		return false
	}
	return true
}

// add counts n more, whatever the limit says.
func (b *budget) add(n int) { b.used.Add(int64(n)) }

func (b *budget) give(n int) { b.used.Add(-int64(n)) }

// charge counts a fetch, or a large reply, that begins with so many bytes of a body.
func (w *worker) charge(body int) abi.Code {
	if !w.fetches.take(1) {
		w.pool.hit(limitFetches)
		return abi.Limit
	}
	if !w.outbound.take(body) {
		w.fetches.give(1)
		w.pool.hit(limitBodies)
		return abi.Limit
	}
	return abi.OK
}

// settle takes a fetch out again, before the guest can hear that it is over.
func (w *worker) settle(body int) {
	w.fetches.give(1)
	w.outbound.give(body)
}

// underWay is the body of a fetch's answer. The fetch counts until it is closed, or was read to its end; so do the bytes that were
// sent, because who sends them keeps them as long.
type underWay struct {
	io.ReadCloser
	w     *worker
	sent  int
	ended atomic.Bool
}

// end settles the fetch. Only the first call does something.
func (u *underWay) end() {
	if u.ended.CompareAndSwap(false, true) {
		u.w.settle(u.sent)
	}
}

// Close implements io.Closer.
func (u *underWay) Close() error {
	defer u.end()
	return u.ReadCloser.Close()
}

// handedBack are bytes of a fetch that a guest had and did not want, on their way to a pipe's client.
type handedBack struct {
	w     *worker
	op    *operation // the pipe's, which gives back what is not read
	bytes []byte
}

// Read implements io.Reader.
func (h *handedBack) Read(p []byte) (int, error) {
	if len(h.bytes) == 0 {
		h.bytes = nil
		return 0, io.EOF
	}
	n := copy(p, h.bytes)
	h.bytes = h.bytes[n:]
	h.w.mu.Lock()
	h.w.giveBack(h.op, n)
	h.w.mu.Unlock()
	return n, nil
}

// giveBack gives up to n of the bytes back that an operation holds. w.mu is held.
func (w *worker) giveBack(op *operation, n int) {
	n = min(n, op.holds)
	op.holds -= n
	w.outbound.give(n)
}
