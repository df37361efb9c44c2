package capability

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// target is a URL that a guest asks for, taken apart.
type target struct {
	method   string
	upstream string // "" for a host
	scheme   string
	host     string
	port     int
	path     string // unescaped
	url      *url.URL
}

// parseTarget refuses what could mean one thing to the policy and another to whoever serves it.
func parseTarget(method, raw string) (*target, error) {
	if len(raw) > 8<<10 {
		return nil, fmt.Errorf("the URL has %d bytes, over 8192", len(raw))
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("the URL cannot be read")
	}
	t := &target{method: method, url: u, scheme: u.Scheme, host: strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), path: u.Path}
	if t.path == "" {
		t.path = "/"
	}
	escaped := strings.ToLower(u.EscapedPath())
	switch {
	case method == "" || strings.ToUpper(method) != method || strings.ContainsAny(method, " \t\r\n"):
		return nil, fmt.Errorf("the method %q is none: write it in capitals", method)
	case u.Opaque != "", t.host == "":
		return nil, fmt.Errorf("the URL has no host")
	case u.User != nil:
		return nil, fmt.Errorf("the URL holds a user or a password: use a secret")
	case u.Fragment != "":
		return nil, fmt.Errorf("the URL has a fragment, which is never sent")
	case !strings.HasPrefix(t.path, "/"):
		return nil, fmt.Errorf("the URL's path does not begin with /")
	case strings.Contains(t.path, "\\"), strings.Contains(escaped, "%2f"), strings.Contains(escaped, "%5c"), strings.ContainsFunc(t.path, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return nil, fmt.Errorf("the URL's path holds an escaped slash, a backslash or a control character")
	}
	for segment := range strings.SplitSeq(t.path, "/") {
		if segment == "." || segment == ".." {
			return nil, fmt.Errorf("the URL's path holds a %q segment: write the path that is meant", segment)
		}
	}
	switch u.Scheme {
	case "upstream":
		t.upstream = u.Host
		if u.Port() != "" {
			return nil, fmt.Errorf("upstream://%s has a port: the upstream's endpoints say where it is", t.host)
		}
		return t, nil
	case "https":
		t.port = 443
	case "http":
		t.port = 80
	default:
		return nil, fmt.Errorf("the scheme %q is neither https, http nor upstream", u.Scheme)
	}
	if p := u.Port(); p != "" {
		if t.port, err = strconv.Atoi(p); err != nil || t.port < 1 || t.port > 65535 {
			return nil, fmt.Errorf("the port %q is none", p)
		}
	}
	return t, nil
}

// grantFor finds the line that allows a call. When there is none, missing shows the one to add.
func grantFor(g config.Grant, t *target) (allowed *config.Fetch, missing string) {
	for i := range g.Fetch {
		f := &g.Fetch[i]
		if covers(f, t) && slices.Contains(f.Methods, t.method) && slices.ContainsFunc(f.Paths, func(p string) bool { return under(p, t.path) }) {
			return f, ""
		}
	}
	where := "upstream: " + t.upstream
	if t.upstream == "" {
		where = "host: " + t.host
		if t.scheme != "https" {
			where += ", scheme: " + t.scheme
		}
		if t.port != defaultPort(t.scheme) {
			where += fmt.Sprintf(", port: %d", t.port)
		}
	}
	return nil, fmt.Sprintf("- {%s, methods: [%s], paths: [%s]}", where, t.method, t.path)
}

func covers(f *config.Fetch, t *target) bool {
	if f.Upstream != "" || t.upstream != "" {
		return f.Upstream == t.upstream
	}
	scheme, port := f.Scheme, f.Port
	if scheme == "" {
		scheme = "https"
	}
	if port == 0 {
		port = defaultPort(scheme)
	}
	return strings.EqualFold(f.Host, t.host) && scheme == t.scheme && port == t.port
}

func defaultPort(scheme string) int {
	if scheme == "http" {
		return 80
	}
	return 443
}

// under says whether a granted path covers path: itself, and what follows a "/".
func under(granted, path string) bool {
	rest, ok := strings.CutPrefix(path, granted)
	return ok && (rest == "" || strings.HasSuffix(granted, "/") || rest[0] == '/')
}
