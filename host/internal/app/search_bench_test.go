package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/patchbay-run/patchbay/host/internal/cache"
	"github.com/patchbay-run/patchbay/host/internal/capability"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/guesttest"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// BenchmarkSearchGuest is what one search costs in the plugin itself: the time that its one worker runs, without HTTP
// and without the wait for a provider. A worker is one thread, so this bounds how many searches a second it answers.
// The best round is reported, since that time is wall time and other processes take theirs from it.
func BenchmarkSearchGuest(b *testing.B) {
	for _, kind := range []string{"text", "markdown", "html"} {
		reply := tavilyReply(b, kind)
		b.Run(kind, func(b *testing.B) {
			guestTime(b, startSearch(b, reply, 0), 50, search)
		})
	}
}

// BenchmarkChatGuest is what one chat costs in the plugin itself.
func BenchmarkChatGuest(b *testing.B) {
	pool := startGuest(b, chatReply, 0, wasm.Options{
		Name: "inference", Routes: []string{"POST /api/inference/infer", "POST /api/inference/stream"}, Config: []byte(`{}`),
	})
	guestTime(b, pool, 500, func(b *testing.B, pool *wasm.Pool, n int) {
		ask(b, pool, n, "/api/inference/infer", chatQuestion, 200, len(chatReply))
	})
}

const (
	chatQuestion = `{"model":"m","messages":[{"role":"user","content":"what does a sandbox cost"}],"stream":false}`
	chatReply    = `{"id":"chatcmpl-1","object":"chat.completion","created":1760000000,"model":"m","choices":[{"index":0,` +
		`"message":{"role":"assistant","content":"the answer is 42"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5}}`
)

// guestTime reports how long the guest ran for one request, in the best of rounds of so many.
func guestTime(b *testing.B, pool *wasm.Pool, round int, do func(*testing.B, *wasm.Pool, int)) {
	do(b, pool, round) // grows the guest's memory
	best := time.Duration(1<<63 - 1)
	for b.Loop() {
		before := pool.Stats()
		do(b, pool, round)
		after := pool.Stats()
		busy := time.Duration((after.Busy - before.Busy) * float64(time.Second))
		best = min(best, busy/time.Duration(after.Requests-before.Requests))
	}
	b.ReportMetric(float64(best.Nanoseconds())/1e3, "guest-µs/request")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkSearchCached is what a search costs whose answer of 10 KB is kept, in the engine: from Pool.Serve to the last byte, without HTTP.
// Its peer is a query that the plugin refuses at once. With "batched" 16 callers at once keep the worker awake.
func BenchmarkSearchCached(b *testing.B) {
	pool := startSearch(b, tavilyReply(b, "text"), 1<<20)
	search(b, pool, 50)
	for _, peer := range []struct {
		name string
		do   func(*testing.B, *wasm.Pool, int)
	}{{"hit", search}, {"refused", refused}} {
		for _, callers := range []int{1, 16} {
			b.Run(fmt.Sprint(peer.name, "/", callers), func(b *testing.B) {
				before, began := pool.Stats(), processTime(b)
				b.ReportAllocs()
				b.ResetTimer()
				var all sync.WaitGroup
				for i := range callers {
					n := b.N / callers
					if i < b.N%callers {
						n++
					}
					all.Go(func() { peer.do(b, pool, n) })
				}
				all.Wait()
				b.StopTimer()
				after := pool.Stats()
				b.ReportMetric(float64((processTime(b)-began).Nanoseconds())/1e3/float64(b.N), "cpu-µs/search")
				b.ReportMetric((after.Busy-before.Busy)*1e6/float64(after.Requests-before.Requests), "guest-µs/search")
			})
		}
	}
}

// processTime is the processor time of this process so far, which others that run beside it do not take.
func processTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// tavilyReply is what a provider answers: eight pages of 1.2 KB.
func tavilyReply(b *testing.B, kind string) string {
	type result struct {
		Title   string  `json:"title"`
		URL     string  `json:"url"`
		Content string  `json:"content"`
		Raw     string  `json:"raw_content"`
		Score   float64 `json:"score"`
	}
	var out struct {
		Results []result `json:"results"`
	}
	for i := range 8 {
		content := fmt.Sprintf("Result %d. Costs fell from $3.50 to $1.25 per million tokens. ", i) +
			strings.Repeat("The sandbox keeps each plugin in a memory of its own. ", 20)
		raw := content
		switch kind {
		case "markdown":
			raw = "# Result\r\n\r\n* [Home](/)\n* [About](/about)\n\n" + numbered(13,
				"**Sandbox** %d keeps each [plugin](https://example.org/plugin) in a “memory” of its own.\n\n") + "Privacy policy\n"
		case "html":
			raw = "<html><head><title>T</title></head><body><nav><a href=\"/\">Home</a></nav>\n" + numbered(12,
				"<p>The <b>sandbox</b> %d keeps each <a href=\"/plugin\">plugin</a> in a memory&nbsp;of its own.</p>\n") + "</body></html>"
		}
		out.Results = append(out.Results, result{fmt.Sprint("Title ", i), fmt.Sprint("https://example.org/", i), content[:300], raw, 0.9})
	}
	var reply strings.Builder
	enc := json.NewEncoder(&reply)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(out); err != nil {
		b.Fatal(err)
	}
	return reply.String()
}

// numbered is n lines of a format, no two alike: a line that comes again is not kept.
func numbered(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// startSearch is one worker of the plugin, whose every fetch gets reply, and that may keep so many bytes.
func startSearch(b *testing.B, reply string, kept config.Bytes) *wasm.Pool {
	return startGuest(b, reply, kept, wasm.Options{
		Name: "search", Routes: []string{"POST /api/tools/search"}, Config: []byte(`{"provider":"tavily"}`), Secrets: []string{"tavily"},
	})
}

// startGuest is one worker of the plugin that o names.
func startGuest(b *testing.B, reply string, kept config.Bytes, o wasm.Options) *wasm.Pool {
	engine, err := wasm.Open(filepath.Join(guesttest.Cache(b), "compiled"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = engine.Close() })
	binary, err := os.ReadFile(guest(b, o.Name))
	if err != nil {
		b.Fatal(err)
	}
	module, err := engine.Compile(b.Context(), binary)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(module.Release)
	values := cache.New(nil)
	b.Cleanup(values.Close)
	table := capability.For(capability.NewHost(&capability.Parts{Cache: values}), capability.Plugin{
		Name: o.Name, Grant: config.Grant{Cache: kept}, Refused: &capability.Refusals{}, Log: slog.New(slog.DiscardHandler),
	})
	table.Slow[abi.OpFetch] = func(context.Context, *wasm.Operation) (*wasm.Reply, error) {
		return &wasm.Reply{Status: 200, Body: io.NopCloser(strings.NewReader(reply)), Length: int64(len(reply))}, nil
	}
	o.Version, o.Workers, o.Memory, o.InFlight, o.Answer = "1.0.0", 1, 64<<20, 64, 1<<20
	o.Log, o.Capabilities, o.Quick = slog.New(slog.DiscardHandler), table.Slow, table.Quick
	pool, err := module.Start(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	return pool
}

// search has n searches answered, one after the other.
func search(b *testing.B, pool *wasm.Pool, n int) {
	ask(b, pool, n, searchPath, `{"q":"what does a sandbox cost"}`, 200, 5000)
}

// refused has n queries refused.
func refused(b *testing.B, pool *wasm.Pool, n int) {
	ask(b, pool, n, searchPath, `{"q":" "}`, 422, 1)
}

const searchPath = "/api/tools/search"

func ask(b *testing.B, pool *wasm.Pool, n int, path, question string, status, least int) {
	for range n {
		a := &countedAnswer{}
		if err := pool.Serve(b.Context(), &wasm.Request{
			ID: "bench", Timeout: patience, Body: queryBody{strings.NewReader(question)},
			Fields: []abi.Field{{Name: ":method", Value: "POST"}, {Name: ":path", Value: path}, {Name: ":query"}},
		}, a); err != nil || a.status != status || a.bytes < least {
			b.Errorf("status %d, %d bytes, %v", a.status, a.bytes, err)
			return
		}
	}
}

// queryBody is a request's body that is all there.
type queryBody struct{ *strings.Reader }

func (queryBody) Close() error { return nil }
func (queryBody) Duplex()      {}

// countedAnswer is a sink that only counts.
type countedAnswer struct{ status, bytes int }

func (a *countedAnswer) Head(status int, _ []abi.Field, _ int64) error { a.status = status; return nil }
func (a *countedAnswer) Write(p []byte) error                          { a.bytes += len(p); return nil }
func (a *countedAnswer) Flush() error                                  { return nil }
