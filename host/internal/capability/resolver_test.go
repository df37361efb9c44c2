package capability_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// names is a DNS server. Each name has a list of answers, one for each question of a kind; the last one stays.
type names struct {
	mu    sync.Mutex
	table map[string][]string // addresses, joined by spaces, or "= name" for an alias
	asked map[string]int
}

// resolver serves the table until the test ends.
func (n *names) resolver(t *testing.T) *net.Resolver {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.asked = map[string]int{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			size, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if answer := n.answer(b[:size]); answer != nil {
				_, _ = c.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", c.LocalAddr().String())
	}}
}

func (n *names) answer(query []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	name := strings.TrimSuffix(strings.ToLower(q.Name.String()), ".")
	m.Header = dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RecursionAvailable: true}
	m.Additionals = nil
	n.mu.Lock()
	defer n.mu.Unlock()
	kind := q.Type.String() + " " + name
	turns := n.table[name]
	if len(turns) == 0 {
		m.RCode = dnsmessage.RCodeNameError
	}
	header := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 0}
	for alias := range 3 {
		if len(turns) == 0 {
			break
		}
		turn := turns[min(n.asked[kind], len(turns)-1)]
		if target, ok := strings.CutPrefix(turn, "= "); ok && alias < 2 {
			h := header
			h.Type = dnsmessage.TypeCNAME
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.CNAMEResource{CNAME: dnsmessage.MustNewName(target + ".")}})
			header.Name, turns = dnsmessage.MustNewName(target+"."), n.table[target]
			continue
		}
		for text := range strings.FieldsSeq(turn) {
			addr, h := netip.MustParseAddr(text), header
			switch {
			case addr.Is4() && q.Type == dnsmessage.TypeA:
				h.Type = dnsmessage.TypeA
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: addr.As4()}})
			case addr.Is6() && q.Type == dnsmessage.TypeAAAA:
				h.Type = dnsmessage.TypeAAAA
				m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
			}
		}
		break
	}
	n.asked[kind]++
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return b
}

// questions is how often a name was asked for, by the kind that was asked for most.
func (n *names) questions(name string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return max(n.asked["TypeA "+name], n.asked["TypeAAAA "+name])
}
