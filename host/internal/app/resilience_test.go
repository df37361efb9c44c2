package app_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// TestUnavailableIs503 is what clients get while nothing is asked of an upstream.
func TestUnavailableIs503(t *testing.T) {
	refused := func(p *patchbay, longest int) {
		t.Helper()
		for _, path := range []string{"/api/inference/infer", "/api/inference/stream"} {
			a := p.do("POST", path, chatBody("m", "hi"))
			retry, err := strconv.Atoi(a.header.Get("Retry-After"))
			if a.status != http.StatusServiceUnavailable || a.detail(t) == "" || err != nil || retry < 1 || retry > longest {
				t.Errorf("%s: %v, Retry-After %q", path, a, a.header.Get("Retry-After"))
			}
		}
	}
	var healed atomic.Bool
	sick := func(_ *provider, w http.ResponseWriter, _ *http.Request, _ chat) {
		if healed.Load() {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"choices":[{"message":{"content":"Hello"}}]}`)
			return
		}
		w.WriteHeader(http.StatusBadGateway)
	}
	t.Run("the breaker is open", func(t *testing.T) {
		stack := newGPUStack(t, sick)
		p := serve(t, setup{plugins: "inference", gpustack: stack.url, chats: "breaker: {min_calls: 4, window: 10m, open: 10m}"})
		for range 4 {
			if a := p.do("POST", "/api/inference/infer", chatBody("m", "hi")); a.status != http.StatusBadGateway {
				t.Fatal(a)
			}
		}
		asked := stack.seen.Load()
		refused(p, 600)
		if stack.seen.Load() != asked {
			t.Error("the upstream was asked")
		}
		if m := string(p.admins("/metrics").body); !strings.Contains(m, `patchbay_upstream_breaker_state{upstream="gpustack"} 2`) ||
			!strings.Contains(m, `patchbay_endpoint_failures_total{endpoint="`+stack.url+`",upstream="gpustack"} 4`) {
			t.Error("/metrics does not tell")
		}
	})
	t.Run("the breaker closes", func(t *testing.T) {
		stack := newGPUStack(t, sick)
		p := serve(t, setup{plugins: "inference", gpustack: stack.url, chats: "breaker: {min_calls: 4, window: 10m, open: 100ms}"})
		is := func(status int) func() bool {
			return func() bool { return p.do("POST", "/api/inference/infer", chatBody("m", "hi")).status == status }
		}
		eventually(t, "it is open", is(http.StatusServiceUnavailable))
		healed.Store(true)
		eventually(t, "it is closed", is(http.StatusOK))
	})
	t.Run("too many wait", func(t *testing.T) {
		stack := newGPUStack(t, func(p *provider, _ http.ResponseWriter, r *http.Request, _ chat) { p.hang(r) })
		p := serve(t, setup{plugins: "inference", gpustack: stack.url, chats: "max_conns: 1, max_waiting: 1"})
		ended := make(chan struct{})
		for range 2 {
			go func() {
				_, _ = p.try(p.Context(), "POST", p.url+"/api/inference/infer", chatBody("m", "hi"))
				ended <- struct{}{}
			}()
		}
		eventually(t, "one runs and one waits", func() bool { return strings.Contains(string(p.admins("/api/upstreams").body), `"waiting": 1,`) })
		refused(p, 1)
		stack.release()
		for range 2 {
			<-ended
		}
	})
}

// TestChatsGoToTheEndpointThatIsThere has one that nobody listens at.
func TestChatsGoToTheEndpointThatIsThere(t *testing.T) {
	stack := newGPUStack(t, nil)
	dead := strings.Replace(stack.url, "127.0.0.1", "127.255.255.254", 1)
	p := serve(t, setup{plugins: "inference", endpoints: fmt.Sprintf("[{url: %q, weight: 3}, %q]", dead, stack.url)})
	for range 20 {
		p.ok("POST", "/api/inference/infer", chatBody("m", "hi"))
	}
	if n := stack.seen.Load(); n != 20 {
		t.Errorf("the endpoint was asked %d times for 20 chats", n)
	}
}
