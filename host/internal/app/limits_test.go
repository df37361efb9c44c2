package app_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestLimitsAreMeasured meets a limit and looks at it where an operator would.
func TestLimitsAreMeasured(t *testing.T) {
	stack := newGPUStack(t, func(p *provider, _ http.ResponseWriter, r *http.Request, _ chat) { p.hang(r) })
	p := serve(t, setup{plugins: "inference", gpustack: stack.url, limits: "timeout: 100ms, cpu: 10s"})
	metric := func(limit, value string) {
		t.Helper()
		want := `patchbay_plugin_limit_hits_total{limit="` + limit + `",plugin="inference"} ` + value + "\n"
		if !strings.Contains(string(p.admins("/metrics").body), want) {
			t.Errorf("/metrics has no %s", want)
		}
	}
	metric("timeout", "0")
	// The call has the same time as its request. When the machine hesitates in that moment, the plugin may be told first.
	eventually(t, "a request that took too long is counted", func() bool {
		if a := p.do("POST", "/api/inference/infer", chatBody("m", "hi")); a.status != 504 {
			t.Errorf("%v", a)
		}
		return p.metric(`patchbay_plugin_limit_hits_total{limit="timeout",plugin="inference"}`) == "1"
	})
	metric("in_flight", "0")
	if got := decode[struct {
		Limits map[string]int64 `json:"limits"`
	}](t, p.admins("/api/plugins/inference")).Limits; got["timeout"] != 1 || len(got) != 11 {
		t.Errorf("the admin listener shows %v", got)
	}
}
