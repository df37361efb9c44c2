package route_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// answering is a target that has the guest answer with these headers.
func answering(rest string, headers ...string) string {
	q := url.Values{"h": headers}
	return "GET /answer?" + rest + "&" + q.Encode()
}

func TestHeadersAPluginMaySet(t *testing.T) {
	all := []string{
		"x-mine:1", "x-mine:2", "location:/x", "etag:e", "cache-control:no-store", "vary:accept", "retry-after:3", "content-disposition:inline", "x-accel-buffering:no",
		"connection:close", "keep-alive:x", "transfer-encoding:gzip", "te:x", "trailer:x", "upgrade:x", "content-length:1", "date:x", "server:evil", "proxy-authenticate:x", "x-request-id:evil",
		"x-content-type-options:off", "alt-svc:x", "strict-transport-security:x", "access-control-allow-origin:evil", "access-control-allow-credentials:true", "nel:x", "report-to:x",
		"x-accel-redirect:/secret", "x-sendfile:/etc/passwd",
		"set-cookie:a=b", "clear-site-data:x", "www-authenticate:Basic", "service-worker-allowed:/",
	}
	s := plugged(t, nil)
	a := s.must(answering("body=hello", all...))
	h := a.Header
	for name, want := range map[string]string{
		"X-Mine": "1,2", "Location": "/x", "Etag": "e", "Cache-Control": "no-store", "Retry-After": "3", "Content-Disposition": "inline", "X-Accel-Buffering": "no",
		"Connection": "", "Keep-Alive": "", "Te": "", "Trailer": "", "Upgrade": "", "Content-Length": "5", "Server": "", "Proxy-Authenticate": "", "X-Content-Type-Options": "nosniff",
		"Alt-Svc": "", "Strict-Transport-Security": "", "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "", "Nel": "", "Report-To": "",
		"X-Accel-Redirect": "", "X-Sendfile": "", "Set-Cookie": "", "Clear-Site-Data": "", "Www-Authenticate": "", "Service-Worker-Allowed": "", "Content-Type": "application/octet-stream",
	} {
		if got := strings.Join(h.Values(name), ","); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if a.body != "hello" || h.Get("X-Request-Id") == "evil" || h.Get("Date") == "x" || a.TransferEncoding != nil {
		t.Errorf("%q %v %v", a.body, a.TransferEncoding, h)
	}
	s = plugged(t, func(c *config.Plugin) { c.Grant.Headers = []string{"set-cookie", "WWW-Authenticate"} })
	h = s.must(answering("", all...)).Header
	if h.Get("Set-Cookie") != "a=b" || h.Get("Www-Authenticate") != "Basic" || h.Get("Clear-Site-Data") != "" {
		t.Errorf("with a grant: %v", h)
	}
}

// TestPagesAreSandboxed holds every way in which a browser could come to run what a plugin serves.
func TestPagesAreSandboxed(t *testing.T) {
	s := plugged(t, nil)
	for _, c := range []struct {
		types   []string
		sandbox bool
	}{
		{[]string{"text/html"}, true},
		{[]string{"TEXT/HTML; charset=utf-8"}, true},
		{[]string{" text/html ;x"}, true},
		{[]string{"text/plain", "text/html"}, true},
		{[]string{"text/html", "text/plain"}, false}, // one is sent, the last
		{[]string{"text/plain, text/html"}, true},
		{[]string{"text/plain;a=b, text/html"}, true},
		{[]string{"text/html, text/plain"}, true},
		{[]string{"application/xhtml+xml"}, true},
		{[]string{"image/svg+xml"}, true},
		{[]string{"application/rss+xml"}, true},
		{[]string{"text/xml"}, true},
		{[]string{"application/xml;charset=utf-8"}, true},
		{[]string{"text/xsl"}, true},
		{[]string{"multipart/x-mixed-replace;boundary=a"}, true},
		{[]string{"nonsense html"}, true},
		{[]string{"text/plain"}, false},
		{[]string{"application/json"}, false},
		{[]string{"text/event-stream;charset=utf-8"}, false},
		{[]string{"image/png"}, false},
		{nil, false},
		{[]string{""}, false},
	} {
		var headers []string
		for _, v := range c.types {
			headers = append(headers, "content-type:"+v)
		}
		for _, more := range []string{"body=x", "body=x&flush=1"} {
			a := s.must(answering(more, append(headers, "content-security-policy:default-src *", "x-content-type-options:x")...))
			want := "default-src *"
			if c.sandbox {
				want = "sandbox"
			}
			if got := strings.Join(a.Header.Values("Content-Security-Policy"), ","); got != want {
				t.Errorf("%q: policy %q, want %q", c.types, got, want)
			}
			if a.Header.Get("X-Content-Type-Options") != "nosniff" || len(a.Header.Values("Content-Type")) != 1 || a.Header.Get("Content-Type") == "" {
				t.Errorf("%q: %v", c.types, a.Header)
			}
		}
	}
}

func TestAnswersWithoutABody(t *testing.T) {
	s := plugged(t, nil)
	for _, c := range []struct {
		target, length, kind string
		status               int
	}{
		{"GET /answer?status=204&body=dropped", "", "", 204},
		{"GET /answer?status=204&flush=1", "", "", 204},
		{"GET /answer?status=304&body=dropped", "", "", 304},
		{"GET /answer?status=304&flush=1", "", "", 304},
		{"GET /answer", "0", "", 200},
		{"HEAD /answer?body=hello", "", "", 200},
		{"HEAD /answer?body=hello&h=content-type:text/plain", "", "text/plain", 200},
		{"HEAD /answer?body=hello&flush=1", "", "", 200},
		{"GET /answer?status=404&body=mine", "4", "application/octet-stream", 404},
		{"GET /answer?status=599&body=mine", "4", "application/octet-stream", 599},
	} {
		a := s.must(c.target)
		if a.StatusCode != c.status || a.Header.Get("Content-Length") != c.length || a.Header.Get("Content-Type") != c.kind || c.length != "4" && a.body != "" {
			t.Errorf("%s: %d %q %v", c.target, a.StatusCode, a.body, a.Header)
		}
	}
	// A connection is as good after them as before.
	if a := s.must("GET /word"); a.body != "hello" {
		t.Errorf("then: %q", a.body)
	}
}
