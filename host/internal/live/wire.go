package live

import (
	"crypto/tls"
	"net"
	"slices"
	"syscall"
	"time"
)

// wire is the connection as gorilla/websocket sees it: it shakes hands and reads through it, and what it writes then, pongs and
// close frames, is put in line with our own frames. So there is one writer, and nobody waits for it.
type wire struct {
	net.Conn
	client *client // nil until hands are shaken
	frames incoming
}

// Read counts, so that a flood of empty frames has an end, and follows the frames.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if c := w.client; c != nil {
		w.frames.see(p[:n])
		if c.bytes += n; c.bytes > maxHeard {
			if err := c.hear(); err != nil {
				return 0, err
			}
		}
	}
	return n, err
}

// Write takes a whole frame: gorilla/websocket writes control frames in one piece.
func (w *wire) Write(p []byte) (int, error) {
	c := w.client
	if c == nil {
		return w.Conn.Write(p)
	}
	switch frame := slices.Clone(p); frame[0] {
	case opClose:
		c.close(frame)
	case opPong: // RFC 6455, 5.5.3: the newest ping is enough to answer
		c.mu.Lock()
		c.pong = frame
		c.mu.Unlock()
		c.send()
	}
	return len(p), nil
}

// SetWriteDeadline leaves our own alone.
func (w *wire) SetWriteDeadline(t time.Time) error {
	if w.client == nil {
		return w.Conn.SetWriteDeadline(t)
	}
	return nil
}

// rawConn finds the socket below what the server has put around it, nil when there is none or bytes do not go out as they are.
func rawConn(conn net.Conn) syscall.RawConn {
	for {
		if _, ok := conn.(*tls.Conn); ok || !canTry {
			return nil
		}
		if s, ok := conn.(syscall.Conn); ok {
			raw, err := s.SyscallConn()
			if err != nil {
				return nil
			}
			return raw
		}
		outer, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return nil
		}
		conn = outer.NetConn()
	}
}
