package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

const (
	gpustack = "upstream://gpustack"
	infer    = "/api/inference/infer"
	stream   = "/api/inference/stream"
	chat     = `{"model":"m","messages":[{"role":"user","content":"the-prompt"}]}`
	whole    = `{"id":"c1","object":"chat.completion","created":1760000000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hej på dig 🚲"},"finish_reason":"stop"}],"usage":{"total_tokens":3,"tokens_per_second":12345678901234567890}}`
)

// answering is an upstream that answers everything alike.
func answering(status int, kind, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", kind)
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// recording is an upstream that keeps what it was sent.
type recording struct {
	path string
	body []byte
	next http.Handler
}

func (u *recording) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.path = r.Method + " " + r.URL.String()
	u.body, _ = io.ReadAll(r.Body)
	u.next.ServeHTTP(w, r)
}

func newHost(t *testing.T, upstream http.Handler) *plugintest.Host {
	t.Helper()
	return plugintest.New(t, Setup, plugintest.Upstream(gpustack, upstream))
}

func detail(a *plugintest.Answer) string {
	var body struct{ Detail string }
	_ = a.JSON(&body)
	return body.Detail
}

func TestInferPassesBothWays(t *testing.T) {
	u := &recording{next: answering(200, "application/json", whole, "X-Patchbay-Demo", "1")}
	a := newHost(t, u).Do("POST", infer, chat)
	if a.Status != 200 || string(a.Body) != whole || a.Header.Get("content-type") != "application/json" || a.Header.Get("x-patchbay-demo") != "1" {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	}
	if u.path != "POST /v1/chat/completions" || string(u.body) != chat {
		t.Errorf("sent %s %s", u.path, u.body)
	}
}

// TestBodies sends every case of the rewriter through both routes.
func TestBodies(t *testing.T) {
	u := &recording{next: answering(200, "application/json", whole)}
	h := newHost(t, u)
	for _, c := range rewriteCases(t) {
		for path, want := range map[string]string{infer: c.infer, stream: c.stream} {
			u.body = nil
			a := h.Do("POST", path, c.body)
			switch {
			case want == "422":
				if a.Status != 422 || detail(a) == "" || u.body != nil {
					t.Errorf("%s, %s: %d %s, sent %q", path, c.name, a.Status, a.Body, u.body)
				}
			case a.Status != 200 || string(u.body) != want:
				t.Errorf("%s, %s: %d, sent %s, want %s", path, c.name, a.Status, u.body, want)
			}
		}
	}
	for _, path := range []string{infer, stream} {
		if a := h.Do("POST", path, nil); a.Status != 422 || detail(a) == "" {
			t.Errorf("%s without a body: %d %s", path, a.Status, a.Body)
		}
	}
}

func TestLargeBodyPassesThrough(t *testing.T) {
	picture := strings.Repeat("QUJD", 3<<20) // 12 MiB, more than a call may hold at once
	large := `{"model":"m","stream":false,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,` + picture + `"}}]}]`
	u := &recording{next: answering(200, "application/json", whole)}
	h := newHost(t, u)
	if a := h.Do("POST", infer, large+"}"); a.Status != 200 || string(u.body) != large+"}" {
		t.Errorf("infer: %d %.200s, %d bytes sent, want %d", a.Status, a.Body, len(u.body), len(large)+1)
	}
	want := strings.Replace(large, "false", "true", 1) + "}"
	if a := h.Do("POST", stream, large+"}"); a.Status != 200 || string(u.body) != want {
		t.Errorf("stream: %d %.200s, %d bytes sent, want %d", a.Status, a.Body, len(u.body), len(want))
	}
	for _, end := range []string{"", "}}", "x}"} {
		if a := h.Do("POST", infer, large+end); a.Status != 422 || detail(a) == "" {
			t.Errorf("end %q: %d %.200s, want 422", end, a.Status, a.Body)
		}
	}
}

const events = "data: {\"choices\":[{\"delta\":{\"content\":\"Hej på \"}}]}\n\n" +
	": heartbeat\n\n" +
	"data: {\"choices\":[{\"delta\":{\"content\":\"dig\"}}]}\n\n" +
	"data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\n"

func TestStream(t *testing.T) {
	ascii := strings.ReplaceAll(events, "å", `\u00e5`)
	for _, c := range []struct{ name, kind, upstream, want string }{
		{"done", "text/event-stream", events + "data: [DONE]\n\n", ascii + "data: [DONE]\n\n"},
		{"a character set", "text/event-stream; charset=utf-8", events + "data: [DONE]\n\n", ascii + "data: [DONE]\n\n"},
		{"carriage returns", "text/event-stream", strings.ReplaceAll(events, "\n", "\r\n") + "data: [DONE]\r\n\r\n", ascii + "data: [DONE]\n\n"},
		{"without its end", "text/event-stream", events, ascii},
		{"a heartbeat only", "text/event-stream", ": heartbeat\n\n", ": heartbeat\n\n"},
		{"an error later", "text/event-stream", events + "data: {\"error\":{\"code\":500}}\n\n", ascii + "data: {\"error\":{\"code\":500}}\n\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := &recording{next: answering(200, c.kind, c.upstream)}
			a := newHost(t, u).Do("POST", stream, chat)
			if a.Status != 200 || a.Err != nil || string(a.Body) != c.want {
				t.Errorf("%d %v\n got %q\nwant %q", a.Status, a.Err, a.Body, c.want)
			}
			for name, want := range map[string]string{"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"} {
				if got := a.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

// TestStreamConverted is an upstream that answers with one document where a stream was asked for.
func TestStreamConverted(t *testing.T) {
	s := newHost(t, answering(200, "application/json", whole)).Stream("POST", stream, chat)
	if s.Status != 200 || s.Header.Get("content-type") != "text/event-stream; charset=utf-8" {
		t.Fatalf("%d %v", s.Status, s.Header)
	}
	var pieces []string
	for {
		piece, err := s.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		pieces = append(pieces, string(piece))
	}
	if len(pieces) != 2 || pieces[1] != "data: [DONE]\n\n" {
		t.Fatalf("%q", pieces)
	}
	data, ok := strings.CutPrefix(pieces[0], "data: ")
	if !ok || strings.ContainsFunc(data, func(r rune) bool { return r > 126 }) {
		t.Errorf("%q", pieces[0])
	}
	var chunk struct {
		Object  string
		Choices []struct {
			Delta        struct{ Content string }
			Message      any
			FinishReason string `json:"finish_reason"`
		}
		Usage map[string]json.Number
	}
	if err := json.Unmarshal([]byte(data), &chunk); err != nil {
		t.Fatal(err)
	}
	if chunk.Object != "chat.completion.chunk" || chunk.Choices[0].Delta.Content != "Hej på dig 🚲" || chunk.Choices[0].Message != nil ||
		chunk.Choices[0].FinishReason != "stop" || chunk.Usage["tokens_per_second"] != "12345678901234567890" {
		t.Errorf("%s", data)
	}
}

// failure is an upstream that fails, and what the client reads.
type failure struct {
	name       string
	upstream   http.HandlerFunc
	status     int
	detail     string
	retryAfter string
}

// failures are those before the first byte that are the same for both routes.
var failures = []failure{
	{"bad request", answering(400, "application/json", `{"error":{"message":"messages is missing","code":400}}`), 400, "messages is missing", ""},
	{"no such model", answering(404, "application/json", `{"error":{"message":"Model not found","code":404,"type":"NotFound"}}`), 404, "Model not found", ""},
	{"our key", answering(401, "application/json", `{"error":{"message":"Invalid key gpustack_1"}}`), 502, "The upstream refused the server's key.", ""},
	{"our key's scope", answering(403, "application/json", `{"error":{"message":"no"}}`), 502, "The upstream refused the server's key.", ""},
	{"too long", answering(413, "application/json", `{"message":"too long"}`), 413, "too long", ""},
	{"its own check", answering(422, "application/json", `{"detail":"n must be 1"}`), 422, "n must be 1", ""},
	{"quota", answering(429, "application/json", `{"error":{"message":"slow down"}}`, "Retry-After", "11"), 429, "slow down", "11"},
	{"not ready", answering(503, "application/json", `{"error":{"message":"No running instances"}}`, "Retry-After", "5"), 503, "No running instances", "5"},
	{"its time-out", answering(504, "text/plain", "gateway"), 502, "The upstream failed with status 504.", ""},
	{"broken", answering(500, "text/plain", "Traceback: the-prompt"), 502, "The upstream failed with status 500.", ""},
	{"a page", answering(200, "text/html", "<html>the-prompt"), 502, "The upstream sent an answer that was not understood.", ""},
	{"an error with status 200", answering(200, "application/json", `{"error":{"message":"Model not found","code":404}}`), 404, "Model not found", ""},
	{"cut before its head", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 502, "The upstream broke off its answer.", ""},
}

// TestFault06StreamFailsWithItsStatus: a stream of a missing model was 200 and then a cut connection.
func TestFault06StreamFailsWithItsStatus(t *testing.T) {
	for _, c := range append(failures[:len(failures):len(failures)], []failure{
		{"the first event is a missing model", answering(200, "text/event-stream", "data: {\"error\":{\"message\":\"Model not found\",\"code\":404}}\n\n"), 404, "Model not found", ""},
		{"the first event is our key", answering(200, "text/event-stream", "data: {\"error\":{\"message\":\"bad key\",\"code\":401}}\n\n"), 502, "The upstream refused the server's key.", ""},
		{"the first event has a word for a code", answering(200, "text/event-stream", "data: {\"error\":{\"message\":\"the-prompt\",\"code\":\"oom\"}}\n\n"), 502, "The upstream failed with status 500.", ""},
		{"the first event is a text", answering(200, "text/event-stream", "data: {\"error\":\"the-prompt\"}\n\n"), 502, "The upstream failed with status 500.", ""},
		{"nothing", answering(200, "text/event-stream", ""), 502, "The upstream sent an answer that was not understood.", ""},
		{"JSON that is no chat", answering(200, "application/json", `{"choices":[]}`), 502, "The upstream sent an answer that was not understood.", ""},
		{"cut before its first event", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, 502, "The upstream broke off its answer.", ""},
	}...) {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, c.upstream)
			a := h.Do("POST", stream, chat)
			if a.Status != c.status || detail(a) != c.detail || a.Header.Get("retry-after") != c.retryAfter || a.Header.Get("content-type") != "application/json" ||
				a.Header.Has("x-accel-buffering") {
				t.Errorf("%d %v %s, want %d %q", a.Status, a.Header, a.Body, c.status, c.detail)
			}
			silent(t, h)
		})
	}
}

// TestFault07InferPassesStatuses: every upstream error was 500.
func TestFault07InferPassesStatuses(t *testing.T) {
	for _, c := range failures {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, c.upstream)
			a := h.Do("POST", infer, chat)
			if a.Status != c.status || detail(a) != c.detail || a.Header.Get("retry-after") != c.retryAfter {
				t.Errorf("%d %v %s, want %d %q", a.Status, a.Header, a.Body, c.status, c.detail)
			}
			silent(t, h)
		})
	}
	t.Run("half an answer", func(t *testing.T) {
		h := newHost(t, answering(200, "application/json", whole[:100]))
		if a := h.Do("POST", infer, chat); a.Status != 502 || detail(a) == "" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
	})
	t.Run("too much", func(t *testing.T) {
		h := newHost(t, answering(200, "application/json", `"`+strings.Repeat("x", maxAnswer)+`"`))
		if a := h.Do("POST", infer, chat); a.Status != 502 || detail(a) != "The upstream's answer is too large." {
			t.Errorf("%d %.200s", a.Status, a.Body)
		}
	})
	t.Run("no grant", func(t *testing.T) {
		h := plugintest.New(t, Setup)
		if a := h.Do("POST", infer, chat); a.Status != 500 || strings.Contains(string(a.Body), "grant") {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		if logs := strings.Join(h.Logs(), "\n"); !strings.Contains(logs, "grant.fetch") {
			t.Errorf("the log does not show the missing grant: %s", logs)
		}
		silent(t, h)
	})
}

// TestFault06BrokenStreamAborts: once the first byte is out there is no status to give; the connection is closed.
func TestFault06BrokenStreamAborts(t *testing.T) {
	h := newHost(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, events)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	a := h.Do("POST", stream, chat)
	if a.Status != 200 || !errors.Is(a.Err, plugintest.ErrAborted) || !bytes.HasPrefix(a.Body, []byte("data: ")) {
		t.Errorf("%d %v %q", a.Status, a.Err, a.Body)
	}
	silent(t, h)
}

// TestFault14ClientGoneEndsUpstream: the upstream kept generating for nobody.
func TestFault14ClientGoneEndsUpstream(t *testing.T) {
	for _, path := range []string{infer, stream} {
		t.Run(path, func(t *testing.T) {
			begun, ended := make(chan bool), make(chan bool)
			h := newHost(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				if path == stream {
					w.Header().Set("Content-Type", "text/event-stream")
					fmt.Fprint(w, "data: {\"choices\":[]}\n\n")
					w.(http.Flusher).Flush()
				}
				begun <- true
				<-r.Context().Done()
				close(ended)
			}))
			s := h.Start("POST", path, chat)
			<-begun
			if path == stream {
				s.Head()
				if _, err := s.Next(); err != nil {
					t.Fatal(err)
				}
			}
			s.Cancel()
			<-ended // or the test runs into its time-out
		})
	}
}

// TestFault15NothingOfAChatIsLogged: prompts, answers and keys were logged.
func TestFault15NothingOfAChatIsLogged(t *testing.T) {
	for _, status := range []int{200, 400, 401, 404, 422, 429, 500, 503} {
		for _, kind := range []string{"application/json", "text/event-stream"} {
			body := `{"error":{"message":"Invalid input: 'the-prompt' with s3cret","code":503}}`
			if kind == "text/event-stream" {
				body = "data: " + body + "\n\n"
			}
			h := plugintest.New(t, Setup, plugintest.Config(`{"secret":"key"}`), plugintest.Secret("key", "s3cret"), plugintest.Upstream(gpustack, answering(status, kind, body)))
			for _, path := range []string{infer, stream} {
				if a := h.Do("POST", path, chat); a.Status < 400 {
					t.Errorf("%s: %d %s", path, a.Status, a.Body)
				}
				if a := h.Do("POST", path, `{"the-prompt`); a.Status != 422 {
					t.Errorf("%s: %d %s", path, a.Status, a.Body)
				}
			}
			silent(t, h)
		}
	}
}

// silent fails the test when the log holds something of a chat.
func silent(t *testing.T, h *plugintest.Host) {
	t.Helper()
	for _, line := range h.Logs() {
		if strings.Contains(line, "the-prompt") || strings.Contains(line, "Hej") || strings.Contains(line, "s3cret") {
			t.Errorf("the log holds something of a chat: %s", line)
		}
	}
}

func TestKeyGoesToAnotherServer(t *testing.T) {
	var auth string
	h := plugintest.New(t, Setup, plugintest.Config(`{"endpoint":"https://llm.example.com/","secret":"key"}`), plugintest.Secret("key", "s3cret"),
		plugintest.Upstream("https://llm.example.com", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			auth = r.Header.Get("Authorization")
			answering(200, "application/json", whole)(w, r)
		})))
	if a := h.Do("POST", infer, chat); a.Status != 200 || auth != "Bearer s3cret" {
		t.Errorf("%d %s, Authorization %q", a.Status, a.Body, auth)
	}
}

func TestSetup(t *testing.T) {
	for config, want := range map[string]string{
		`{}`:                          "",
		`{"endpoint":"gpustack"}`:     "endpoint",
		`{"endpoint":"http://x?a=b"}`: "endpoint",
		`{"endpoints":"http://x"}`:    "endpoints",
		`{"secret":"gone"}`:           "secret",
	} {
		err := plugintest.New(t, Setup, plugintest.Config(config)).SetupError()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", config, err, want)
		}
	}
}
