package wasm

import "slices"

// room bounds the bytes of bodies that lie in a mailbox. Who has read some more than fit waits, in order, until the guest has taken
// others: it must take what there is, whatever it waits for itself, so this cannot lock up. worker.mu guards it.
type room struct {
	limit    int64 // 0 is no bound
	promised int64 // bytes of readers that may go on and have not put them in yet
	readers  []*reader
}

// reader is one who waits.
type reader struct {
	n   int
	may chan struct{} // closed when it may go on
	in  bool
}

func (w *worker) fits(n int) bool {
	used := w.box.bytes + w.room.promised
	return w.room.limit == 0 || used == 0 || used+int64(n) <= w.room.limit
}

// makeRoom waits until n more bytes fit into the mailbox, and says whether they are to be put there: not when over says that they
// have another way to go, nor when done is closed. over is asked again after each word from changed. w.mu is held, and let go meanwhile.
func (w *worker) makeRoom(n int, over func() bool, changed, done <-chan struct{}) bool {
	if over() {
		return false
	}
	if n == 0 || len(w.room.readers) == 0 && w.fits(n) {
		return true
	}
	w.pool.hit(limitBodies)
	r := &reader{n: n, may: make(chan struct{})}
	w.room.readers = append(w.room.readers, r)
	gone := false
	for !r.in && !gone && !over() {
		w.mu.Unlock()
		select {
		case <-r.may:
		case <-changed:
		case <-done:
			gone = true
		}
		w.mu.Lock()
	}
	if r.in {
		w.room.promised -= int64(n)
	} else {
		w.room.readers = slices.DeleteFunc(w.room.readers, func(o *reader) bool { return o == r })
	}
	if r.in && !gone && !over() {
		return true
	}
	w.letIn() // those behind this one
	return false
}

// letIn lets readers go on whose bytes fit now. w.mu is held.
func (w *worker) letIn() {
	for len(w.room.readers) > 0 && w.fits(w.room.readers[0].n) {
		r := w.room.readers[0]
		w.room.readers = w.room.readers[1:]
		w.room.promised += int64(r.n)
		r.in = true
		close(r.may)
	}
}
