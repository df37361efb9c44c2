package telemetry_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/logtest"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

// lines is a log that can be read as JSON objects.
type lines struct{ logtest.Buffer }

func (l *lines) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (l *lines) all(t *testing.T) (out []map[string]any) {
	t.Helper()
	sc := bufio.NewScanner(strings.NewReader(l.String()))
	for sc.Scan() {
		var m map[string]any
		if err := json.Unmarshal(sc.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

func TestAccessLine(t *testing.T) {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	stopped, stop := context.WithCancelCause(context.Background())
	stop(fmt.Errorf("stopping"))
	for _, tc := range []struct {
		name    string
		ctx     context.Context
		handler http.HandlerFunc
		status  float64
		left    string
	}{
		{"answered", context.Background(), func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }, 200, "server"},
		{"nothing written", context.Background(), func(http.ResponseWriter, *http.Request) {}, 200, "server"},
		{"client left first", gone, func(http.ResponseWriter, *http.Request) {}, 499, "client"},
		{"client left in the middle", gone, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }, 201, "client"},
		{"server stopped", stopped, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, 503, "server"},
		{"panic", context.Background(), func(http.ResponseWriter, *http.Request) { panic("boom") }, 500, "aborted"},
		{"abort", context.Background(), func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(202)
			panic(http.ErrAbortHandler)
		}, 202, "aborted"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log lines
			tr := telemetry.NewTracker(telemetry.TrackerOptions{Log: log.logger(), Access: telemetry.AccessLog{On: true}})
			h := tr.Track(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				telemetry.SetRoute(r.Context(), "POST /secret/{id}")
				tc.handler(w, r)
			}))
			r := httptest.NewRequestWithContext(tc.ctx, "POST", "/secret/alice?q=private", strings.NewReader("private"))
			r.Header.Set("Authorization", "private")
			func() {
				defer func() { _ = recover() }()
				h.ServeHTTP(httptest.NewRecorder(), r)
			}()
			got := log.all(t)
			if len(got) != 1 {
				t.Fatalf("%d lines, want 1", len(got))
			}
			if got[0]["status"] != tc.status || got[0]["left"] != tc.left || got[0]["route"] != "POST /secret/{id}" || got[0]["method"] != "POST" {
				t.Errorf("line %v, want status %v left %v", got[0], tc.status, tc.left)
			}
			if raw := log.String(); strings.Contains(raw, "private") || strings.Contains(raw, "alice") {
				t.Errorf("the line tells too much: %s", raw)
			}
			if s := tr.Snapshot(); s.InFlight != 0 {
				t.Errorf("in flight %d after the end", s.InFlight)
			}
		})
	}
}

// traced is a trace by its id.
type traced string

func (t traced) TraceID() string { return string(t) }

// TestAccessLineTellsWhatWasDone is the whole line, in its order, and what is left out of it when there is nothing to tell.
func TestAccessLineTellsWhatWasDone(t *testing.T) {
	c := new(clock)
	var text logtest.Buffer
	tr := telemetry.NewTracker(telemetry.TrackerOptions{
		Log: slog.New(slog.NewTextHandler(&text, nil)), Access: telemetry.AccessLog{On: true, Client: true}, Now: c.Now,
		Client: func(r *http.Request) string { return r.RemoteAddr },
	})
	chat := func(model string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			ctx := r.Context()
			telemetry.SetRoute(ctx, "POST /api/inference/infer")
			telemetry.SetPlugin(ctx, "inference", "1.2.3")
			telemetry.SetTrace(ctx, traced("4bf92f3577b34da6a3ce929d0e0e4736"))
			_, _ = io.Copy(io.Discard, r.Body)
			c.advance(20 * time.Millisecond)
			w.WriteHeader(http.StatusOK)
			c.advance(1500 * time.Microsecond)
			telemetry.AddUpstream(ctx, 18*time.Millisecond)
			telemetry.AddUpstream(ctx, time.Millisecond)
			telemetry.AddUsage(ctx, telemetry.Usage{Model: model, InputTokens: 12, OutputTokens: 340})
			_, _ = io.WriteString(w, "hello")
		}
	}
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		want    string
	}{
		{"a chat", chat("Qwen/Qwen2.5-7B"), `id=x1 method=POST route="POST /api/inference/infer" status=200 bytes_in=7 bytes_out=5 duration_ms=21.5 first_byte_ms=20 upstream_ms=19 ` +
			`plugin=inference version=1.2.3 model=Qwen/Qwen2.5-7B input_tokens=12 output_tokens=340 trace=4bf92f3577b34da6a3ce929d0e0e4736 client=192.0.2.1:1234 left=server`},
		{"a name that is none", chat("tell me a secret"), `id=x1 method=POST route="POST /api/inference/infer" status=200 bytes_in=7 bytes_out=5 duration_ms=21.5 first_byte_ms=20 upstream_ms=19 ` +
			`plugin=inference version=1.2.3 input_tokens=12 output_tokens=340 trace=4bf92f3577b34da6a3ce929d0e0e4736 client=192.0.2.1:1234 left=server`},
		{"an endless name", chat(strings.Repeat("m", 129)), `output_tokens=340`},
		{"nothing", func(http.ResponseWriter, *http.Request) {}, `id=x1 method=POST route=unmatched status=200 bytes_in=0 bytes_out=0 duration_ms=0 first_byte_ms=0 client=192.0.2.1:1234 left=server`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := len(text.String())
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("private"))
			r.Header.Set("X-Request-Id", "x1")
			tr.Track(tc.handler).ServeHTTP(httptest.NewRecorder(), r)
			got := text.String()[before:]
			_, got, _ = strings.Cut(strings.TrimSuffix(got, "\n"), "level=INFO msg=request ")
			if got != tc.want && !(strings.Contains(got, tc.want) && !strings.Contains(got, "model")) {
				t.Errorf("the line is\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

// TestAccessLineWhenItIsToldTo: probes that go well are told of at debug alone, and the settings change while requests are under way.
func TestAccessLineWhenItIsToldTo(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		for _, on := range []bool{true, false} {
			var log logtest.Buffer
			tr := telemetry.NewTracker(telemetry.TrackerOptions{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: level}))})
			h := tr.Track(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				tr.SetAccessLog(telemetry.AccessLog{On: on})
				switch r.URL.Path {
				case "/livez":
					telemetry.SetProbe(r.Context(), "GET /livez")
				case "/readyz":
					telemetry.SetProbe(r.Context(), "GET /readyz")
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			}))
			for _, path := range []string{"/", "/livez", "/readyz"} {
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
			}
			want := map[slog.Level]int{slog.LevelDebug: 3, slog.LevelInfo: 2, slog.LevelWarn: 0}[level]
			if !on {
				want = 0
			}
			if got := strings.Count(log.String(), "msg=request"); got != want {
				t.Errorf("at %v, on %v: %d lines, want %d", level, on, got, want)
			}
		}
	}
}

// TestWhoLeftFirst is over real connections, where a client can leave at any moment.
func TestWhoLeftFirst(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\n"
	long := strings.Repeat("x", 64<<10)
	for _, tc := range []struct {
		name   string
		send   string
		read   int // bytes of the answer, before the client leaves
		handle func(w http.ResponseWriter, r *http.Request)
		status int
		left   string
	}{
		{"before the head", head + "body", 0, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		}, 499, "client"},
		{"in the middle of the answer", head + "body", 20, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, "hello")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		}, 200, "client"},
		{"in the middle of its own request", head + "bo", 0, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			panic(http.ErrAbortHandler)
		}, 499, "client"},
		{"in the middle of its own request, and is answered", head + "bo", 0, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusBadRequest)
		}, 400, "client"},
		{"never: the server does not wait for the body", head + "bo", 0, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now())
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusOK)
		}, 200, "server"},
		{"never: it falls silent", head + "bo", 0, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now())
			_, _ = io.Copy(io.Discard, r.Body)
			panic(http.ErrAbortHandler)
		}, 499, "client"},
		{"with all of the answer", head + "body", 64 << 10, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Length", fmt.Sprint(len(long)))
			_, _ = io.WriteString(w, long)
			<-r.Context().Done()
		}, 200, "server"},
		{"never: the server gives up", head + "body", 0, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			panic(http.ErrAbortHandler)
		}, 200, "aborted"},
		{"never: a time-out", head + "body", 0, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusGatewayTimeout)
		}, 504, "server"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var log lines
			tr := telemetry.NewTracker(telemetry.TrackerOptions{Log: log.logger(), Access: telemetry.AccessLog{On: true}})
			srv := httptest.NewUnstartedServer(tr.Track(http.HandlerFunc(tc.handle)))
			srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
			srv.Start()
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(conn, tc.send)
			if _, err := io.ReadFull(conn, make([]byte, tc.read)); err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(tc.name, "never") {
				_, _ = io.Copy(io.Discard, conn)
			}
			for end := time.Now().Add(time.Minute); tr.Snapshot().Total == 0 && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			conn.Close()
			srv.Close() // waits for the handler
			got := log.all(t)
			if len(got) != 1 || got[0]["status"] != float64(tc.status) || got[0]["left"] != tc.left {
				t.Errorf("the line is %v, want status %d left %s", got, tc.status, tc.left)
			}
		})
	}
}
