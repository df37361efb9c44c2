package wasm

import (
	"io"
	"sync/atomic"
)

// budget bounds something that one worker has under way in the host. Only the goroutine that polls takes of it; whoever
// comes to an end gives back.
type budget struct {
	limit int64 // 0 is no bound
	used  atomic.Int64
}

// take counts n more, unless that is over the limit.
func (b *budget) take(n int) bool {
	if b.limit > 0 && b.used.Load()+int64(n) > b.limit {
		return false
	}
	b.used.Add(int64(n))
	return true
}

func (b *budget) give(n int) { b.used.Add(-int64(n)) }

// underWay is the body of a fetch's answer. The fetch counts until it is closed, or was read to its end.
type underWay struct {
	io.ReadCloser
	w     *worker
	ended atomic.Bool
}

// end takes the fetch out of its worker's count, before the guest can hear that it is over. Only the first call does something.
func (u *underWay) end() {
	if u.ended.CompareAndSwap(false, true) {
		u.w.fetches.give(1)
	}
}

// Close implements io.Closer.
func (u *underWay) Close() error {
	defer u.end()
	return u.ReadCloser.Close()
}
