package telemetry

import (
	"net"
	"sync"
)

// websocket is a hijacked connection. It counts until it is closed and knows nothing of its request, so that a handler may return
// and leave the connection to somebody else.
type websocket struct {
	net.Conn
	flow *flow
	once sync.Once
}

// Close ends the count.
func (w *websocket) Close() error {
	w.once.Do(w.flow.endWebsocket)
	return w.Conn.Close()
}

// NetConn is what was hijacked.
func (w *websocket) NetConn() net.Conn { return w.Conn }
