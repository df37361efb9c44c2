package upstream_test

import (
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// openConns counts, on the servers' side, how many connections are open at once.
//
// A server hears of a close only when it reads, so its plain count runs ahead of the truth. Whenever that
// count passes the highest seen, the kernel is asked which connections are still established:
// one that was accepted before the question and is established after it was open at the
// question, and a connection never comes back to that state. So most is never too high.
type openConns struct {
	mu    sync.Mutex
	conns map[net.Conn]*net.TCPConn
	most  int // open at once
	total int // accepted
}

// listener counts what l accepts. The counts of several listeners add up.
func (o *openConns) listener(l net.Listener) net.Listener { return countingListener{l, o} }

type countingListener struct {
	net.Listener
	open *openConns
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	o := l.open
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conns == nil {
		o.conns = make(map[net.Conn]*net.TCPConn)
	}
	counted := &countedConn{Conn: c, open: o}
	o.conns[counted] = c.(*net.TCPConn)
	o.total++
	if len(o.conns) > o.most {
		n := 0
		for _, tcp := range o.conns {
			if established(tcp) {
				n++
			}
		}
		o.most = max(o.most, n)
	}
	return counted, nil
}

type countedConn struct {
	net.Conn
	open *openConns
}

func (c *countedConn) Close() error {
	c.open.mu.Lock()
	delete(c.open.conns, c)
	c.open.mu.Unlock()
	return c.Conn.Close()
}

func established(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	const tcpEstablished = 1
	var info *unix.TCPInfo
	if cerr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); cerr != nil || err != nil {
		return false
	}
	return info.State == tcpEstablished
}
