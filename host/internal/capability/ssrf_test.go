package capability_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/capability"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// inside is a service of this machine that no plugin may reach: it counts connections, whatever is said on them.
type inside struct {
	port string
	hits atomic.Int64
}

// newInside listens at one port, with IPv6 too where the machine has it.
func newInside(t *testing.T) *inside {
	t.Helper()
	s := &inside{}
	at := "127.0.0.1:0"
	for _, network := range []string{"tcp4", "tcp6"} {
		l, err := net.Listen(network, at)
		if err != nil {
			if network == "tcp4" {
				t.Fatal(err)
			}
			t.Log("not looked at over IPv6: ", err)
			return s
		}
		_, s.port, _ = net.SplitHostPort(l.Addr().String())
		at = "[::1]:" + s.port
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				s.hits.Add(1)
				_ = c.SetReadDeadline(time.Now().Add(time.Minute))
				_, _ = c.Read(make([]byte, 4<<10))
				_, _ = fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret")
				c.Close()
			}
		}()
		t.Cleanup(func() { l.Close(); <-done })
	}
	return s
}

// nowhere is an address that counts as public and that no route leads to: it is not assigned.
const nowhere = "2d00:dead::1"

// ssrf is every way inside that we know of. PORT is where the service listens; every host in it is granted, though not private.
func ssrf() []string {
	return []string{
		// Addresses as they are, and what else means this machine or this network.
		"http://127.0.0.1:PORT/", "http://127.0.0.2:PORT/", "http://127.255.255.254:PORT/", "http://0.0.0.0:PORT/", "http://0.1.2.3:PORT/",
		"http://10.0.0.1:PORT/", "http://172.16.0.1:PORT/", "http://192.168.0.1:PORT/", "http://100.64.0.1:PORT/", "http://198.18.0.1:PORT/", "http://192.0.2.1:PORT/",
		"http://169.254.169.254/latest/meta-data/", "http://169.254.170.2/v2/credentials", "http://100.100.100.200/latest/meta-data/",
		"http://224.0.0.1:PORT/", "http://255.255.255.255:PORT/", "http://240.0.0.1:PORT/", "https://127.0.0.1:PORT/",
		// The same in the forms that C libraries and browsers read.
		"http://2130706433:PORT/", "http://017700000001:PORT/", "http://0x7f000001:PORT/", "http://0x7f.0x0.0x0.0x1:PORT/", "http://0177.0.0.1:PORT/", "http://127.1:PORT/", "http://127.0.1:PORT/",
		"http://0:PORT/", "http://00000000:PORT/", "http://127.0.0.01:PORT/", "http://0x7F.1:PORT/", "http://2852039166/latest/", "http://127.0.0.1.:PORT/", "http://4294967296:PORT/", "http://425.510.425.510/",
		// IPv6.
		"http://[::1]:PORT/", "http://[::]:PORT/", "http://[0:0:0:0:0:0:0:1]:PORT/", "http://[0000::0001]:PORT/", "http://[::127.0.0.1]:PORT/", "http://[::ffff:127.0.0.1]:PORT/", "http://[::ffff:7f00:1]:PORT/",
		"http://[::ffff:0:127.0.0.1]:PORT/", "http://[0:0:0:0:0:ffff:127.0.0.1]:PORT/", "http://[fe80::1]:PORT/", "http://[fe80::1%25lo]:PORT/", "http://[::1%25lo]:PORT/", "http://[fd00:ec2::254]/latest/",
		"http://[fc00::1]:PORT/", "http://[fec0::1]:PORT/", "http://[ff02::1]:PORT/", "http://[64:ff9b::127.0.0.1]:PORT/", "http://[64:ff9b:1::7f00:1]:PORT/", "http://[2002:7f00:1::]:PORT/", "http://[2002:a9fe:a9fe::]/",
		"http://[2001:0:808:808:0:0:80ff:fffe]:PORT/", "http://[2001:db8::1]:PORT/", "http://[2a00:1450::5efe:127.0.0.1]:PORT/", "http://[2a00:1450::200:5efe:a9fe:a9fe]/latest/", "http://[::ffff:169.254.169.254]/latest/",
		// Names.
		"http://localhost:PORT/", "http://LOCALHOST:PORT/", "http://localhost.:PORT/", "http://localhost..:PORT/",
		"http://loop.example.com:PORT/", "http://loop6.example.com:PORT/", "http://mapped.example.com:PORT/", "http://nat64.example.com:PORT/", "http://sixtofour.example.com:PORT/", "http://zero.example.com:PORT/",
		"http://zero6.example.com:PORT/", "http://metadata.example.com/", "http://alias.example.com:PORT/", "http://alias2.example.com:PORT/", "http://first.example.com:PORT/", "http://LOOP.example.com.:PORT/",
		// Who is asked is not who is named: users, escapes, backslashes, fragments.
		"http://good.example.com@127.0.0.1:PORT/", "http://good.example.com:80@127.0.0.1:PORT/", "http://127.0.0.1:PORT@good.example.com/", "http://good.example.com%2f@127.0.0.1:PORT/",
		"http://good.example.com#@127.0.0.1:PORT/", "http://good.example.com?@127.0.0.1:PORT/", `http://127.0.0.1:PORT\@good.example.com/`, `http://good.example.com\@127.0.0.1:PORT/`, `http:\\127.0.0.1:PORT\`, "http:127.0.0.1:PORT/",
		"http:///127.0.0.1:PORT/", "http://%31%32%37.0.0.1:PORT/", "http://127.0.0.1%2f.example.com:PORT/", "http://127.0.0.1%00.example.com:PORT/", "http://127.0.0.1%23.example.com:PORT/", "http://[127.0.0.1]:PORT/", "http://[::1].example.com:PORT/",
		"http:// 127.0.0.1:PORT/", "http://127.0.0.1 :PORT/", "http://127.0.0.1:PORT:80/", "http://127.0.0.1:+PORT/", "http://127.0.0.1:0xPORT/", "http://good.example.com:PORT,127.0.0.1:PORT/",
		// Lines in the midst of a request.
		"http://loop.example.com:PORT/\r\nHost: x", "http://loop.example.com:PORT/a b", "http://loop.example.com:PORT/%0d%0aX: y", "http://127.0.0.1:PORT\r\n.example.com/", "http://loop.example.com:PORT/?\r\nX: y", "http://127.0.0.1\t:PORT/",
		// Other alphabets.
		"http://127。0。0。1:PORT/", "http://①②⑦.⓪.⓪.①:PORT/", "http://127.0.0.1:PORT/", "http://ⓛocalhost:PORT/", "http://loc\u00adalhost:PORT/", "http://localhoſt:PORT/", "http://xn--127-bq4b:PORT/", "http://loop。example.com:PORT/",
		"http://127.0.0.1\u200b:PORT/", "http://1\u066227.0.0.1:PORT/",
		// Other schemes.
		"file:///etc/passwd", "gopher://127.0.0.1:PORT/_GET", "ftp://127.0.0.1:PORT/", "dict://127.0.0.1:PORT/", "unix:///var/run/docker.sock", "http+unix://%2Fvar%2Frun%2Fdocker.sock/", "ws://127.0.0.1:PORT/", "//127.0.0.1:PORT/",
		"upstream://127.0.0.1:PORT/", "upstream://up@127.0.0.1/", "jar:http://127.0.0.1:PORT!/", "view-source:http://127.0.0.1:PORT/", "HTTP:127.0.0.1:PORT",
	}
}

// everywhere grants all of the hosts in a URL, and *.example.com, without private addresses.
func everywhere(raw, port string) (grants []config.Fetch) {
	hosts := []string{"*.example.com", "localhost", "127.0.0.1"}
	if u, err := url.Parse(raw); err == nil && u.Hostname() != "" {
		hosts = append(hosts, strings.ToLower(strings.TrimRight(u.Hostname(), ".")))
	}
	at := 0
	fmt.Sscan(port, &at)
	for _, host := range hosts {
		for _, f := range []config.Fetch{{Scheme: "http"}, {Scheme: "https"}, {Scheme: "http", Port: at}, {Scheme: "https", Port: at}} {
			f.Host, f.Methods, f.Paths = host, []string{"GET", "POST"}, []string{"/"}
			grants = append(grants, f)
		}
	}
	return grants
}

func ssrfNames() *names {
	return &names{table: map[string][]string{
		"loop.example.com": {"127.0.0.1"}, "good.example.com": {"127.0.0.1"}, "loop6.example.com": {"::1"}, "mapped.example.com": {"::ffff:127.0.0.1"}, "nat64.example.com": {"64:ff9b::7f00:1"}, "sixtofour.example.com": {"2002:7f00:1::"},
		"zero.example.com": {"0.0.0.0"}, "zero6.example.com": {"::"}, "metadata.example.com": {"169.254.169.254 fd00:ec2::254"}, "alias.example.com": {"= loop.example.com"}, "alias2.example.com": {"= alias.example.com"},
		"first.example.com": {nowhere + " 127.0.0.1"},
	}}
}

// TestSSRF wants no call to reach the service, neither asked for nor by way of a redirect, and a clear refusal for each.
func TestSSRF(t *testing.T) {
	target := newInside(t)
	resolver := ssrfNames().resolver(t)
	var to atomic.Pointer[string]
	door := serve(t, func(w http.ResponseWriter, r *http.Request) { // a server that the guest may call, and that is up to no good
		w.Header()["Location"] = []string{*to.Load()}
		if r.URL.Path != "/twice" {
			w.Header()["Location"] = []string{"/twice"}
		}
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	all := ssrf()
	if len(all) < 60 {
		t.Fatalf("%d URLs", len(all))
	}
	quick := func(c *config.Client) { c.ConnectTimeout = 500 * time.Millisecond }
	for _, raw := range all {
		raw = strings.ReplaceAll(raw, "PORT", target.port)
		// A failed connection is a refusal only where nobody has the name, or where the first of its addresses leads nowhere.
		unreached := strings.Contains(raw, "xn--") || strings.Contains(raw, "first.example.com")
		client := quick
		if !unreached { // all others are refused at once, however slow the machine is
			client = nil
		}
		s := setup{client: client, options: []upstream.Option{upstream.Resolver(resolver)}, grant: append(everywhere(raw, target.port), grant(t, door.URL, nil))}
		refused := func(how string, err error) {
			t.Helper()
			var coded *abi.Error
			if !errors.As(err, &coded) || coded.Code != abi.Invalid && coded.Code != abi.Denied && coded.Code != abi.Blocked &&
				!(unreached && (coded.Code == abi.Connect || coded.Code == abi.Timeout)) && !strings.Contains(coded.Text, "malformed") {
				t.Errorf("%q %s: %v", raw, how, err)
			}
			if n := target.hits.Swap(0); n != 0 {
				t.Errorf("%q %s: it was reached", raw, how)
			}
		}
		g := s.guest(t)
		_, _, err := g.do(t.Context(), ask("GET", raw))
		refused("asked for", err)
		if strings.ContainsAny(raw, "\r\n") { // an answer's header cannot hold it
			continue
		}
		to.Store(&raw)
		_, _, err = g.do(t.Context(), hops("10", ask("GET", door.URL)))
		refused("as a redirect", err)
	}
	for _, h := range [][2]string{{"x", "a\r\nHost: 127.0.0.1"}, {"x\r\nhost", "127.0.0.1"}, {"host", "127.0.0.1"}, {"x-forwarded-host", "127.0.0.1"}, {"proxy-connection", "keep-alive"}, {"transfer-encoding", "chunked"}} {
		raw := "http://loop.example.com:" + target.port
		g := setup{options: []upstream.Option{upstream.Resolver(resolver)}, grant: everywhere(raw, target.port)}.guest(t)
		g.refuses(t, ask("GET", raw, h[0], h[1]), abi.Invalid)
	}
	if n := target.hits.Load(); n != 0 {
		t.Errorf("it was reached %d times", n)
	}
	// The service is there: what kept the others out is the policy.
	g := setup{grant: []config.Fetch{grant(t, "http://127.0.0.1:"+target.port, nil)}}.guest(t)
	if _, body := g.must(t, ask("GET", "http://127.0.0.1:"+target.port)); body != "secret" || target.hits.Load() != 1 {
		t.Errorf("%q after %d connections", body, target.hits.Load())
	}
}

// TestRebinding has names whose answers change from question to question. What is checked is the address that is dialled, and a
// name is asked for once.
func TestRebinding(t *testing.T) {
	target := newInside(t)
	for name, turns := range map[string][]string{
		"public, then inside":        {nowhere, "127.0.0.1"},
		"public twice, then inside":  {nowhere, nowhere, "127.0.0.1"},
		"inside, then public":        {"127.0.0.1", nowhere},
		"both, then inside":          {nowhere + " 127.0.0.1", "127.0.0.1"},
		"nobody, then inside":        {"", "127.0.0.1"},
		"by an alias that turns":     {nowhere, "= loop.example.com"},
		"public, then inside over 6": {nowhere, "::1"},
	} {
		t.Run(name, func(t *testing.T) {
			n := ssrfNames()
			n.table["rebind.example.com"] = turns
			raw := "http://rebind.example.com:" + target.port
			g := setup{
				client:  func(c *config.Client) { c.ConnectTimeout = 300 * time.Millisecond },
				options: []upstream.Option{upstream.Resolver(n.resolver(t))}, grant: everywhere(raw, target.port),
			}.guest(t)
			for asked, i := 0, 0; asked < 4; i++ { // on a machine that hesitates a call may end before its question
				if _, body, err := g.do(t.Context(), ask("GET", raw)); err == nil {
					t.Errorf("call %d: %q", i, body)
				}
				got := n.questions("rebind.example.com")
				if got > asked+1 || i == 100 {
					t.Fatalf("after call %d there are %d questions, before it there were %d", i, got, asked)
				}
				asked = got
			}
		})
	}
	if n := target.hits.Load(); n != 0 {
		t.Errorf("it was reached %d times", n)
	}
}

// TestPrivateConnectionsAreNobodyElses lets one plugin inside, and another, or the same by another line, call the same place.
func TestPrivateConnectionsAreNobodyElses(t *testing.T) {
	hits := 0
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		hits++
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "/inside", http.StatusFound)
		}
	})
	g := setup{}.guest(t)
	plugin := func(name string, lines ...config.Fetch) *guest {
		p := capability.Plugin{Name: name, Grant: config.Grant{Fetch: lines}, Refused: g.refused, Log: discarded()}
		return &guest{host: g.host, fetch: stoppable(capability.For(g.host, p)), refused: g.refused, log: g.log}
	}
	private := grant(t, s.URL, func(f *config.Fetch) { f.Paths = []string{"/away"} })
	public := grant(t, s.URL, func(f *config.Fetch) { f.Private = false })
	one, other, same := plugin("one", private), plugin("other", public), plugin("one", private, public)
	for range 3 {
		one.must(t, ask("GET", s.URL+"/away"))
	}
	if idle := g.host.Parts().Upstreams.Stats()[0].Idle; idle != 1 {
		t.Fatalf("%d idle connections", idle)
	}
	before := hits
	other.refuses(t, ask("GET", s.URL+"/away"), abi.Blocked)
	same.refuses(t, ask("GET", s.URL+"/inside"), abi.Blocked)
	if hits != before {
		t.Errorf("%d calls came through", hits-before)
	}
	same.refuses(t, hops("3", ask("GET", s.URL+"/away")), abi.Blocked) // the first hop may, the second not
	if hits != before+1 {
		t.Errorf("%d calls came through", hits-before)
	}
	if _, _, err := other.do(context.Background(), ask("GET", s.URL)); err == nil {
		t.Error("the other plugin was let in")
	}
}
