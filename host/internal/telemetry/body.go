package telemetry

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
)

// body counts what is read of a request's body. A handler may have it read by others, and past its own end.
type body struct {
	io.ReadCloser
	bytes   atomic.Int64
	gone    atomic.Bool // the client left within it
	stalled atomic.Bool // a deadline passed before more of it came. net/http takes that for a client that left
}

// Read counts what was read.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.bytes.Add(int64(n))
	var network net.Error
	switch {
	case err == nil, err == io.EOF:
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.stalled.Store(true)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network):
		b.gone.Store(true)
	}
	return n, err
}
