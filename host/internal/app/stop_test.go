package app_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/patchbay-run/patchbay/host/internal/app"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/guesttest"
)

// TestStopAnswersWhatIsInFlight: who has asked is answered, then everything is free.
func TestStopAnswersWhatIsInFlight(t *testing.T) {
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		if c.Stream {
			begin(w)
			event(w, "Hel")
			if !p.hang(r) {
				event(w, "lo")
				done(w)
			}
			return
		}
		if !p.hang(r) {
			say(w, c, "Hello")
		}
	})
	p := serve(t, setup{host: ownHost(), plugins: "inference", gpustack: stack.url})
	live, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(p.url, "http")+"/api/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	s := p.stream(chatBody("m", "hi"))
	s.line("data: ")
	answered := make(chan answer, 1)
	go func() {
		a, err := p.try(t.Context(), "POST", p.url+"/api/inference/infer", chatBody("m", "hi"))
		if err != nil {
			t.Error(err)
		}
		answered <- a
	}()
	eventually(t, "both chats are at the upstream", func() bool { now, _ := stack.inFlight(); return now == 2 })
	stopped := make(chan error, 1)
	go func() { stopped <- p.stop() }()
	eventually(t, "nobody new is let in", func() bool {
		conn, err := net.Dial("tcp", p.app.Addr().String())
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	select {
	case err := <-stopped:
		t.Fatalf("it stopped with two requests in flight: %v", err)
	default:
	}
	stack.release()
	if a := receive(t, "the answer", answered); a.status != 200 || !strings.Contains(string(a.body), "Hello") {
		t.Errorf("%v", a)
	}
	if got := s.words(); got != "lo" {
		t.Errorf("the stream ended with %q", got)
	}
	if err := receive(t, "Run", stopped); err != nil {
		t.Error(err)
	}
	for _, addr := range []net.Addr{p.app.Addr(), p.app.AdminAddr()} {
		l, err := net.Listen("tcp", addr.String())
		if err != nil {
			t.Errorf("the port is still taken: %v", err)
			continue
		}
		l.Close()
	}
}

// TestStopCutsWhatDoesNotEnd: a stop has an end, and says what it cost.
func TestStopCutsWhatDoesNotEnd(t *testing.T) {
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) { p.hang(r) })
	file := filepath.Join(t.TempDir(), "patchbay.yaml")
	write(t, file, setup{plugins: "inference", gpustack: stack.url, server: "drain_timeout: 100ms"}.yaml(t))
	a, err := app.New(t.Context(), app.Options{Config: config.Options{File: file}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stopped := make(chan error, 1)
	go func() { stopped <- a.Run(ctx, nil) }()
	gone := make(chan struct{})
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	go func() {
		defer close(gone)
		resp, err := (&http.Client{Transport: transport}).Post("http://"+a.Addr().String()+"/api/inference/infer", "application/json", strings.NewReader(chatBody("m", "hi")))
		if err == nil {
			resp.Body.Close()
			t.Errorf("a chat that never ended was answered %d", resp.StatusCode)
		}
	}()
	eventually(t, "the chat hangs", func() bool { now, _ := stack.inFlight(); return now == 1 })
	stop()
	if err := receive(t, "Run", stopped); err == nil || !strings.Contains(err.Error(), "drain_timeout") {
		t.Errorf("Run says %v", err)
	}
	receive(t, "the client is cut", gone)
	eventually(t, "the upstream call is closed", func() bool { return stack.gone.Load() == 1 })
}

// TestNewLeavesNothingBehind: what cannot serve fails before anything is served, names the trouble, and frees its ports.
func TestNewLeavesNothingBehind(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.wasm")
	write(t, broken, "\x00asm\x01\x00\x00\x00no module")
	missing := filepath.Join(t.TempDir(), "nowhere.wasm")
	for _, c := range []struct {
		name string
		yaml string
		want []string
	}{
		{"missing", setup{plugins: "search", searchWasm: missing}.yaml(t), []string{`plugin "search"`, "nowhere.wasm", filepath.Dir(missing)}},
		{"broken", setup{plugins: "search", searchWasm: broken}.yaml(t), []string{`plugin "search"`, broken}},
		{"plugin's own config", setup{plugins: "search", search: "max_results: 99"}.yaml(t), []string{`plugin "search"`, "max_results"}},
		{"mistakes", setup{plugins: "search", server: "max_conns: -1\nwrite_timeout: 0s", client: "max_conns: 0"}.yaml(t), []string{"server.max_conns", "server.write_timeout", "client.max_conns"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "patchbay.yaml")
			write(t, file, c.yaml)
			a, err := app.New(t.Context(), app.Options{Config: config.Options{File: file}, Log: slog.New(slog.DiscardHandler)})
			if err == nil {
				a.Close()
				t.Fatal("it was made")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v does not name %s", err, want)
				}
			}
		})
	}
}

// TestCloseWithoutRun frees what New made.
func TestCloseWithoutRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "patchbay.yaml")
	write(t, file, setup{host: ownHost(), plugins: "models"}.yaml(t))
	a, err := app.New(t.Context(), app.Options{Config: config.Options{File: file}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	a.Close()
	if err := a.Reload(t.Context()); err == nil {
		t.Error("a closed server reloads")
	}
	l, err := net.Listen("tcp", a.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := os.Stat(filepath.Join(guesttest.Cache(t), "app", "compiled")); err != nil {
		t.Error(err)
	}
}
