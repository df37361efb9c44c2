package route_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/plugin"
	"github.com/patchbay-run/patchbay/host/internal/route"
)

func TestNobodyAnswers(t *testing.T) {
	s := open(t, nil)
	s.must("GET /request").isDetail(t, 404, "Not Found") // before the first table
	s.swap(s.load(nil))
	for target, want := range map[string]int{
		"GET /":                         200,
		"GET /nothing":                  404,
		"GET /request/":                 404,
		"GET /Request":                  404,
		"GET /items/1":                  405,
		"GET /items//parts/2":           404,
		"GET //request":                 404,
		"GET /./request":                404,
		"GET /x/../request":             404,
		"GET /files//a%20b":             404,
		"GET /api/health":               404, // in the manifest, not in the configuration
		"POST /anything":                404, // "POST /" is no prefix
		"POST /request":                 405,
		"PUT /request":                  405,
		"BREW /request":                 405,
		"OPTIONS /request":              405,
		"DELETE /items/1":               200,
		"HEAD /request":                 200,
		"POST /":                        200,
		"GET /files/a%2Fb/c":            200,
		"GET /files/":                   200,
		"GET /items/a%2Fb/parts/%2e%2e": 200,
	} {
		a := s.must(target)
		switch {
		case a.StatusCode != want:
			t.Errorf("%s: %d %s, want %d", target, a.StatusCode, a.body, want)
		case want == 404:
			a.isDetail(t, 404, "Not Found")
		case want == 405:
			a.isDetail(t, 405, "Method Not Allowed")
			if allow := a.Header.Get("Allow"); allow == "" || strings.Contains(allow, a.Request.Method) {
				t.Errorf("%s: Allow %q", target, allow)
			}
		}
	}
	if allow := s.must("POST /request").Header.Get("Allow"); allow != "GET, HEAD" {
		t.Errorf("Allow %q", allow)
	}
	if a := s.must("GET /"); a.body != "home" {
		t.Errorf("GET / gave %q", a.body)
	}
}

func TestErrorsBelowV1AreOpenAIs(t *testing.T) {
	s := plugged(t, func(c *config.Plugin) { c.Limits.Timeout = 1 })
	for target, want := range map[string]struct {
		status int
		kind   string
	}{
		"GET /v1/nothing": {404, "invalid_request_error"}, "GET /v1": {404, "invalid_request_error"},
		"POST /v1/models": {405, "invalid_request_error"}, "GET /v1/hang": {504, "api_error"},
	} {
		a := s.must(target)
		var got struct {
			Error struct {
				Message, Type string
				Code          int
			}
		}
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.StatusCode != want.status || got.Error.Message == "" || got.Error.Type != want.kind || got.Error.Code != want.status {
			t.Errorf("%s: %d %s", target, a.StatusCode, a.body)
		}
	}
	s.must("GET /v1x").isDetail(t, 404, "Not Found")
}

func TestOverlapIsAnError(t *testing.T) {
	s := open(t, nil)
	overlap := s.load(func(c *config.Plugin) {
		c.Routes = []string{"GET /overlap/{a}/x", "GET /overlap/x/{b}", "GET /api/health"}
	})
	s.host["GET /api/health"] = http.NotFoundHandler()
	_, err := route.NewTable(s.handler, s.host, []*plugin.Generation{overlap}, []route.Unloaded{{Config: config.Plugin{Name: "late", Routes: []string{"GET /api/health", "GET /other"}}}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`plugin "probe": route GET /overlap/x/{b}: `, `conflicts with pattern "GET /overlap/{a}/x"`,
		`plugin "probe": route GET /api/health: `, `plugin "late": route GET /api/health: `,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), ".go") || strings.Contains(err.Error(), "/other") {
		t.Errorf("the error says too much:\n%v", err)
	}
	if _, err := route.NewTable(s.handler, map[string]http.Handler{"no pattern at all": http.NotFoundHandler()}, nil, nil); err == nil {
		t.Error("a malformed pattern is no error")
	}
}

func TestUnloadedPlugin(t *testing.T) {
	s := open(t, nil)
	table, err := route.NewTable(s.handler, s.host, nil, []route.Unloaded{{Config: config.Plugin{Name: "late", Routes: []string{"GET /late/{id}", "POST /"}}}})
	if err != nil {
		t.Fatal(err)
	}
	s.handler.Swap(table)
	for _, target := range []string{"GET /late/1", "POST /"} {
		a := s.must(target)
		a.isDetail(t, 503, `Plugin "late" is not loaded`)
		if a.Header.Get("Retry-After") != "10" {
			t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
		}
	}
	s.must("POST /late/1").isDetail(t, 405, "Method Not Allowed")
	s.must("POST /x").isDetail(t, 404, "Not Found")
}

func TestWhatReachesAPlugin(t *testing.T) {
	s := plugged(t, nil)
	got := s.must("GET /items/a%20b%2Fc/parts/%C3%A9?x=1&y=%20", "X-Request-Id", "my-id").told(t)
	if got.Method != "GET" || got.Path != "/items/a%20b%2Fc/parts/%C3%A9" || got.Query != "x=1&y=%20" || got.Host != s.addr || got.Client != "127.0.0.1" || got.ID != "my-id" {
		t.Errorf("%+v", got)
	}
	if want := map[string]string{"id": "a b/c", "part": "é"}; !maps.Equal(got.Params, want) {
		t.Errorf("path parameters %v, want %v", got.Params, want)
	}
	if got := s.must("GET /files/a/b%20c/").told(t).Params["rest"]; got != "a/b c/" {
		t.Errorf("rest %q", got)
	}
	if got := s.must("HEAD /request"); got.StatusCode != 200 || got.body != "" || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("HEAD: %d %v", got.StatusCode, got.Header)
	}
}

func TestHeadersThatReachAPlugin(t *testing.T) {
	sent := []string{
		"Accept", "text/html", "Accept-Language", "de", "If-None-Match", `"1"`, "Last-Event-ID", "7", "X-Stream-Events", "1", "Traceparent", "t", "X-Request-Id", "id", "User-Agent", "test",
		"Authorization", "Bearer x", "Cookie", "a=b", "X-Api-Key", "k", "X-Forwarded-For", "1.2.3.4", "Forwarded", "for=1.2.3.4", "Referer", "r", "X-Anything", "1", "X-Anything", "2", "Sec-Fetch-Site", "none",
		"Proxy-Authorization", "p", "X-Real-Ip", "1.2.3.4",
	}
	harmless := []string{"accept", "accept-language", "if-none-match", "last-event-id", "traceparent", "user-agent", "x-request-id", "x-stream-events"}
	for _, c := range []struct{ granted, reach []string }{
		{nil, harmless},
		{[]string{"authorization", "COOKIE", "X-Anything"}, append([]string{"authorization", "cookie", "x-anything"}, harmless...)},
	} {
		s := plugged(t, func(p *config.Plugin) { p.Grant.Headers = c.granted })
		got := s.must("GET /request", sent...).told(t).Headers
		slices.Sort(c.reach)
		if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, c.reach) {
			t.Errorf("with grant %v: %v reach the plugin, want %v", c.granted, names, c.reach)
		}
		if c.granted != nil && fmt.Sprint(got["authorization"], got["x-anything"]) != "[Bearer x] [1 2]" {
			t.Errorf("headers %v", got)
		}
	}
}

func TestHeadTooLarge(t *testing.T) {
	s := openPlugged(t, func(c *config.Server) { c.MaxHeader = 1 << 20 }, nil)
	s.must("GET /request?"+strings.Repeat("q", 70<<10)).isDetail(t, 431, "Path, query and headers over the limit")
	if !strings.Contains(s.must("GET /request").body, "request") {
		t.Error("the next request is not answered")
	}
}
