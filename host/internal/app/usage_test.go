package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/otlptest"
)

// accessLine is the access line of the one request of that id.
func (p *patchbay) accessLine(id string) (line map[string]any) {
	p.Helper()
	eventually(p.T, "the access line of "+id, func() bool {
		for text := range strings.Lines(p.log.String()) {
			var one map[string]any
			if json.Unmarshal([]byte(text), &one) == nil && one["msg"] == "request" && one["id"] == id {
				line = one
				return true
			}
		}
		return false
	})
	return line
}

// TestAccessLineOfAChat: what a chat took is read as its bytes pass by, traces or no traces, whole or streamed, and when its client leaves.
func TestAccessLineOfAChat(t *testing.T) {
	const usage = `"usage":{"prompt_tokens":17,"completion_tokens":4}`
	stack := newGPUStack(t, func(p *provider, w http.ResponseWriter, r *http.Request, c chat) {
		time.Sleep(30 * time.Millisecond)
		if !c.Stream {
			writeJSON(w, 200, `{"model":"m1-served","choices":[{"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],`+usage+`}`)
			return
		}
		begin(w)
		fmt.Fprint(w, "data: {\"model\":\"m1-served\",\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n")
		_ = http.NewResponseController(w).Flush()
		if c.Model == "endless" {
			p.hang(r)
			return
		}
		fmt.Fprintf(w, "data: {\"choices\":[],%s}\n\n", usage)
		done(w)
	})
	for _, traced := range []bool{false, true} {
		t.Run(fmt.Sprintf("traces %v", traced), func(t *testing.T) {
			s := setup{plugins: "inference", gpustack: stack.url}
			if traced {
				s.top = tracesTo(otlptest.Start(t, "grpc", nil), "")
			}
			p := serve(t, s)
			for _, path := range []string{"/api/inference/infer", "/api/inference/stream"} {
				line := p.accessLine(p.do("POST", path, chatBody("m1", prompt), "Traceparent", theirs).header.Get("X-Request-Id"))
				if line["model"] != "m1-served" || line["input_tokens"] != 17.0 || line["output_tokens"] != 4.0 {
					t.Errorf("%s: %v", path, line)
				}
				if took, ok := line["upstream_ms"].(float64); !ok || took < 30 || took > line["duration_ms"].(float64) {
					t.Errorf("%s: upstream_ms is %v of %v", path, line["upstream_ms"], line["duration_ms"])
				}
				if trace, _ := line["trace"].(string); (trace == theirTrace) != traced {
					t.Errorf("%s: the trace is %q", path, trace)
				}
			}
			ctx, leave := context.WithCancel(t.Context())
			req, _ := http.NewRequestWithContext(ctx, "POST", p.url+"/api/inference/stream", strings.NewReader(chatBody("endless", prompt)))
			resp, err := p.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(resp.Body, make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			leave()
			resp.Body.Close()
			if line := p.accessLine(resp.Header.Get("X-Request-Id")); line["left"] != "client" || line["model"] != "m1-served" || line["upstream_ms"] == nil {
				t.Errorf("who left: %v", line)
			}
		})
	}
}
