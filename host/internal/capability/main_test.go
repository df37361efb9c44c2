package capability_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/capability"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/leaktest"
	"github.com/patchbay-run/patchbay/host/internal/logtest"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// setup is what a plugin under test is given. Its zero value has no grant, no upstream and no secret.
type setup struct {
	grant   []config.Fetch
	client  func(*config.Client)
	named   map[string]config.Upstream
	secrets map[string]config.Secret
	environ []string
	resolve func(string) (string, error)
	options []upstream.Option
}

// guest is a plugin's door to its capabilities.
type guest struct {
	host    *capability.Host
	fetch   wasm.Capability
	refused *capability.Refusals
	log     *logtest.Buffer
}

func (s setup) guest(t testing.TB) *guest {
	t.Helper()
	c := config.Client{MaxConns: 100, IdleTimeout: time.Minute, ConnectTimeout: 30 * time.Second, ResponseTimeout: 30 * time.Second, ChunkTimeout: 30 * time.Second}
	if s.client != nil {
		s.client(&c)
	}
	set, err := upstream.New(c, s.named, s.resolve, s.options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	secrets, err := capability.ReadSecrets(s.secrets, s.environ)
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{refused: &capability.Refusals{}, log: &logtest.Buffer{}}
	g.host = capability.NewHost(&capability.Parts{Upstreams: set, Client: c, Named: s.named, Secrets: secrets})
	g.fetch = stoppable(capability.For(g.host, capability.Plugin{
		Name: "probe", Grant: config.Grant{Fetch: s.grant}, Refused: g.refused,
		Log: slog.New(slog.NewTextHandler(g.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}))
	return g
}

// stoppable is the fetch of a table, with a context of its own for each call, as the engine has it. That of the test ends it.
func stoppable(t *capability.Table) wasm.Capability {
	return func(ctx context.Context, in *wasm.Operation) (*wasm.Reply, error) {
		ctx, in.Stop = context.WithCancelCause(ctx)
		return t.Slow[abi.OpFetch](ctx, in)
	}
}

// ask is a fetch. extra are names and values of headers, in turn.
func ask(method, url string, extra ...string) *wasm.Operation {
	in := &wasm.Operation{Code: abi.OpFetch, RequestID: "req-1", Fields: []abi.Field{{Name: ":method", Value: method}, {Name: ":url", Value: url}}}
	for i := 0; i < len(extra); i += 2 {
		in.Fields = append(in.Fields, abi.Field{Name: extra[i], Value: extra[i+1]})
	}
	return in
}

// do makes a call and reads its answer to the end.
func (g *guest) do(ctx context.Context, in *wasm.Operation) (*wasm.Reply, string, error) {
	reply, err := g.fetch(ctx, in)
	if err != nil {
		return nil, "", err
	}
	b, err := io.ReadAll(reply.Body)
	return reply, string(b), errors.Join(err, reply.Body.Close())
}

// must is do for a call that is to succeed.
func (g *guest) must(t testing.TB, in *wasm.Operation) (*wasm.Reply, string) {
	t.Helper()
	reply, body, err := g.do(t.Context(), in)
	if err != nil {
		t.Fatalf("%s: %v", abi.Get(in.Fields, ":url"), err)
	}
	return reply, body
}

// refuses makes a call that is to fail with a code and gives its text.
func (g *guest) refuses(t testing.TB, in *wasm.Operation, code abi.Code) string {
	t.Helper()
	_, _, err := g.do(t.Context(), in)
	var coded *abi.Error
	if !errors.As(err, &coded) {
		t.Fatalf("%s: error %v, want %v", abi.Get(in.Fields, ":url"), err, code)
	}
	if coded.Code != code {
		t.Fatalf("%s: code %v (%s), want %v", abi.Get(in.Fields, ":url"), coded.Code, coded.Text, code)
	}
	return coded.Text
}

// shown is what the operator is shown of the call that was refused last.
func (g *guest) shown() (text string) {
	var last time.Time
	for _, r := range g.refused.List() {
		if !r.Last.Before(last) {
			text, last = r.Text, r.Last
		}
	}
	return text
}

// recorder is a server that says what it was asked, as lines.
type recorder struct {
	*httptest.Server
	mu   sync.Mutex
	seen []*http.Request
}

func record(t testing.TB) *recorder {
	r := &recorder{}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func recordTLS(t testing.TB) *recorder {
	r := &recorder{}
	r.Server = httptest.NewTLSServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	b, _ := io.ReadAll(req.Body)
	kept := req.Clone(context.Background())
	kept.Body = io.NopCloser(bytes.NewReader(b))
	r.mu.Lock()
	r.seen = append(r.seen, kept)
	r.mu.Unlock()
	w.Header().Set("Connection", "close")
	w.Header().Set("X-Answer", "yes")
	io.WriteString(w, "hello")
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

func (r *recorder) last(t testing.TB) *http.Request {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) == 0 {
		t.Fatal("the server saw no request")
	}
	return r.seen[len(r.seen)-1]
}

// grant allows all of a test's server, with changes.
func grant(t testing.TB, server string, change func(*config.Fetch)) config.Fetch {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	port, _ := strconv.Atoi(u.Port())
	f := config.Fetch{Scheme: u.Scheme, Host: u.Hostname(), Port: port, Methods: []string{"GET", "POST", "HEAD"}, Paths: []string{"/"}, Private: true}
	if change != nil {
		change(&f)
	}
	return f
}

func portOf(t testing.TB, server string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(server[strings.LastIndex(server, "/")+1:])
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func discarded() *slog.Logger { return slog.New(slog.DiscardHandler) }
