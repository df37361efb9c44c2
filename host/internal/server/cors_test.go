package server_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/server"
)

func TestCORS(t *testing.T) {
	const page = "https://page.example"
	preflight := map[string]string{"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
	for _, tc := range []struct {
		name    string
		origins []string
		method  string
		origin  string
		extra   map[string]string
		status  int
		want    map[string]string // "" is absent
		vary    bool              // by Origin
	}{
		{"all, simple", []string{"*"}, "GET", page, nil, 200, map[string]string{"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After, X-Request-Id"}, false},
		{"all, preflight", []string{"*"}, "OPTIONS", page, preflight, 204, map[string]string{
			"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "authorization,content-type", "Access-Control-Max-Age": "600",
			"Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", "Access-Control-Allow-Credentials": ""}, false},
		{"listed", []string{"https://a.example", page}, "GET", page, nil, 200, map[string]string{"Access-Control-Allow-Origin": page}, true},
		{"listed, other case", []string{"https://PAGE.example"}, "GET", page, nil, 200, map[string]string{"Access-Control-Allow-Origin": page}, true},
		{"listed, preflight", []string{page}, "OPTIONS", page, preflight, 204, map[string]string{"Access-Control-Allow-Origin": page, "Access-Control-Max-Age": "600"}, true},
		{"stranger", []string{page}, "GET", "https://evil.example", nil, 200, map[string]string{"Access-Control-Allow-Origin": "", "Access-Control-Expose-Headers": ""}, true},
		{"stranger, preflight", []string{page}, "OPTIONS", "https://evil.example", preflight, 204, map[string]string{"Access-Control-Allow-Origin": "", "Access-Control-Allow-Methods": ""}, true},
		{"same origin", []string{page}, "GET", "", nil, 200, map[string]string{"Access-Control-Allow-Origin": ""}, true},
		{"nobody", nil, "GET", page, nil, 200, map[string]string{"Access-Control-Allow-Origin": ""}, true},
		{"OPTIONS that is no preflight", []string{"*"}, "OPTIONS", page, nil, 200, map[string]string{"Access-Control-Allow-Methods": ""}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := server.CORS(config.CORS{Origins: tc.origins})(http.HandlerFunc(hello))
			r := httptest.NewRequest(tc.method, "/", nil)
			if tc.origin != "" {
				r.Header.Set("Origin", tc.origin)
			}
			for k, v := range tc.extra {
				r.Header.Set(k, v)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tc.status {
				t.Errorf("status %d, want %d", w.Code, tc.status)
			}
			for k, v := range tc.want {
				if got := w.Header().Get(k); got != v {
					t.Errorf("%s: %q, want %q", k, got, v)
				}
			}
			if got := slices.Contains(w.Header().Values("Vary"), "Origin"); got != tc.vary {
				t.Errorf("Vary: %v", w.Header().Values("Vary"))
			}
		})
	}
}
