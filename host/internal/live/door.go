package live

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/patchbay-run/patchbay/host/internal/server"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

// requestID is the header that names the request, which whoever counts requests has set.
const requestID = "X-Request-Id"

// retryAfter is said to a client that finds no place, in seconds.
const retryAfter = "5"

// address stands for one client's network: an IPv4 address, or the 64 bits of an IPv6 one that a site is given.
type address netip.Prefix

func addressOf(r *http.Request) address {
	a := server.ClientAddr(r)
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil { // no address at all; these share one bound
		return address{}
	}
	return address(p)
}

// door is one of the hub's two handlers. Each has places of its own, so that the public cannot lock the operator out.
type door struct {
	hub    *Hub
	public bool // shows public topics alone

	// Guarded by the hub's mu.
	places    int // taken, those still shaking hands included
	addresses map[address]int
}

// Why a client is turned away.
var (
	errFull    = errors.New("the feed has as many clients as it takes; try again")
	errCrowd   = errors.New("the feed has as many clients of this address as it takes; close one, or try again")
	errStopped = errors.New("the feed has stopped; try again")
)

// reserve takes a place before the handshake, so that handshakes count too.
func (d *door) reserve(from address) error {
	h := d.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.stopped:
		return errStopped
	case d.places >= h.config.MaxClients:
		return errFull
	case d.addresses[from] >= h.config.MaxPerAddress:
		return errCrowd
	}
	d.places++
	d.addresses[from]++
	h.gone.Add(1)
	return nil
}

func (d *door) release(from address) {
	h := d.hub
	h.mu.Lock()
	d.places--
	if d.addresses[from]--; d.addresses[from] == 0 {
		delete(d.addresses, from)
	}
	h.mu.Unlock()
	h.gone.Done()
}

// originAllowed lets programs in, which send no Origin, pages of this very host, and listed ones.
func (h *Hub) originAllowed(r *http.Request) bool {
	origin := strings.ToLower(r.Header.Get("Origin"))
	if origin == "" || slices.Contains(h.origins, "*") || slices.Contains(h.origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// ServeHTTP upgrades the request and returns; the connection lives on without the memory that net/http has for a request. It
// answers 503 with Retry-After when the feed is full or has stopped, 429 when the address has its share, 403 to a page that may
// not connect, and 400 or 405 to what is no websocket handshake.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from := addressOf(r)
	if err := d.reserve(from); err != nil {
		d.hub.counts.refused.Add(1)
		w.Header().Set("Retry-After", retryAfter)
		status := http.StatusServiceUnavailable
		if err == errCrowd {
			status = http.StatusTooManyRequests
		}
		detail(w, status, err.Error())
		return
	}
	c := &client{door: d, from: from}
	// The upgrader writes a head of its own.
	conn, err := d.hub.upgrader.Upgrade(&hijacker{w, c}, r, http.Header{requestID: w.Header()[requestID]})
	if err != nil { // answered by the upgrader
		d.release(from)
		return
	}
	c.begin(telemetry.Valid(r.Context()), conn, r.URL.Query())
}

// hijacker has the upgrader work on the client's own wire.
type hijacker struct {
	http.ResponseWriter
	client *client
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.client.wire.Conn = conn
	return &h.client.wire, rw, nil
}

func detail(w http.ResponseWriter, status int, text string) {
	if status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodGet)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"detail": text})
}
