package upstream_test

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/pipetest"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

// memory is a network without sockets, in a bubble whose clock stands still while anybody is at work: however slow the machine, a call
// takes exactly as long as its server sleeps.
type memory struct {
	mu        sync.Mutex
	listening map[string]*pipetest.Listener
}

func inBubble(t *testing.T, test func(t *testing.T, m *memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // after all others: handlers that sleep come to their end
		test(t, &memory{listening: map[string]*pipetest.Listener{}})
	})
}

func (m *memory) listen(addr string) (net.Listener, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := pipetest.New()
	m.listening[addr] = l
	return l, nil
}

func (m *memory) dial(addr string) (net.Conn, error) {
	m.mu.Lock()
	l := m.listening[addr]
	m.mu.Unlock()
	if l == nil {
		return nil, errors.New("nobody listens")
	}
	return l.Dial()
}

// backends is the function of this name, at addresses that are always the same.
func (m *memory) backends(t *testing.T, names string) (all []*backend) {
	t.Helper()
	for _, name := range names {
		all = append(all, m.backend(t, string(name), nil))
	}
	return all
}

// backend is newBackend.
func (m *memory) backend(t *testing.T, name string, handle http.HandlerFunc) *backend {
	t.Helper()
	b := &backend{name: name, addr: name + ".test:80", handle: handle, listen: m.listen}
	b.start(t)
	t.Cleanup(b.kill)
	return b
}

// upstream is newUpstream.
func (m *memory) upstream(t *testing.T, change func(*config.Upstream), urls ...string) (*upstream.Set, *upstream.Upstream) {
	t.Helper()
	set, u := newUpstream(t, change, urls...)
	u.Pool().Dial(m.dial)
	return set, u
}

// pool is newPool.
func (m *memory) pool(t *testing.T, change func(*config.Client)) *upstream.Pool {
	t.Helper()
	p := newPool(t, change)
	p.Dial(m.dial)
	return p
}
