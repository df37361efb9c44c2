package capability

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

const (
	maxURL    = 8 << 10 // bytes
	maxMethod = 32      // bytes
)

// target is a URL that a guest asks for, taken apart.
type target struct {
	method   string
	upstream string // "" for a host
	scheme   string
	host     string // in lower case, without a dot at its end
	port     int
	path     string   // unescaped
	url      *url.URL // leads to host, port and path and nowhere else
}

// parseTarget refuses what could mean one thing to the policy and another to whoever serves it.
func parseTarget(method, raw string) (*target, error) {
	if len(raw) > maxURL {
		return nil, fmt.Errorf("the URL has %d bytes, over %d", len(raw), maxURL)
	}
	if !isMethod(method) {
		return nil, fmt.Errorf("the method %.40q is none: write it in capitals", method)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("the URL cannot be read") // the parser's error quotes it with its query
	}
	t := &target{method: method, url: u, scheme: u.Scheme, host: strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), path: u.Path}
	if t.path == "" {
		t.path = "/"
	}
	switch {
	case u.Opaque != "", t.host == "":
		return nil, errors.New("the URL has no host")
	case u.User != nil:
		return nil, errors.New("the URL holds a user or a password: use a secret")
	case u.Fragment != "":
		return nil, errors.New("the URL has a fragment, which is never sent")
	case strings.Contains(u.RawQuery, " "):
		return nil, errors.New("the URL's query holds a space: escape it")
	case strings.Contains("."+t.host+".", ".."), strings.ContainsFunc(u.Hostname(), func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '%' }):
		return nil, errors.New("the URL's host is neither a plain name nor an address: write an international name in its xn-- form")
	}
	if addr, err := netip.ParseAddr(t.host); err == nil {
		t.host = addr.String() // one spelling of an IPv6 address
	} else if config.IsNumericHost(t.host) {
		return nil, errors.New("the URL's host is a number: write an address as four decimal numbers, without zeros before them")
	}
	if err := checkPath(t.path, u.EscapedPath()); err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "upstream":
		t.upstream = u.Host
		if u.Port() != "" {
			return nil, fmt.Errorf("upstream://%s has a port: the upstream's endpoints say where it is", t.host)
		}
		return t, nil
	case "https", "http":
		t.port = defaultPort(u.Scheme)
	default:
		return nil, fmt.Errorf("the scheme %.40q is neither https, http nor upstream", u.Scheme)
	}
	if p := u.Port(); p != "" {
		if t.port, err = strconv.Atoi(p); err != nil || t.port < 1 || t.port > 65535 {
			return nil, fmt.Errorf("the port %.40q is none", p)
		}
	}
	t.url.Host = t.hostPort() // what was judged is what is called
	return t, nil
}

func isMethod(s string) bool {
	return s != "" && len(s) <= maxMethod && s == strings.ToUpper(s) && isToken(s)
}

// checkPath refuses a path that some server would take for another one. A "..;x" segment is a ".." to servers
// that know path parameters.
func checkPath(path, escaped string) error {
	escaped = strings.ToLower(escaped)
	switch {
	case !strings.HasPrefix(path, "/"):
		return errors.New("the URL's path does not begin with /")
	case strings.Contains(path, "\\"), strings.Contains(escaped, "%2f"), strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("the URL's path holds an escaped slash, a backslash or a control character")
	case !utf8.ValidString(path):
		return errors.New("the URL's path is not UTF-8") // some servers read %c0%ae as a dot
	}
	for _, twice := range []string{"%2e", "%2f", "%5c"} {
		if strings.Contains(strings.ToLower(path), twice) {
			return fmt.Errorf("the URL's path holds %s that is escaped twice", twice)
		}
	}
	for segment := range strings.SplitSeq(path, "/") {
		if name, _, _ := strings.Cut(segment, ";"); name == "." || name == ".." {
			return fmt.Errorf("the URL's path holds a %q segment: write the path that is meant", name)
		}
	}
	return nil
}

// escapedPath is the path as it is sent.
func (t *target) escapedPath() string {
	if p := t.url.EscapedPath(); p != "" {
		return p
	}
	return "/"
}

// origin is what two calls have in common when they go to the same server.
func (t *target) origin() string { return t.scheme + "://" + t.upstream + t.hostPort() }

// hostPort is the host as a URL has it.
func (t *target) hostPort() string {
	host := t.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if t.port != defaultPort(t.scheme) {
		host += ":" + strconv.Itoa(t.port)
	}
	return host
}

// grantFor finds the line that allows a call with a secret; "" is none. covered says that there are lines that allow
// it without this secret.
func grantFor(g config.Grant, t *target, secret string) (allowed *config.Fetch, covered bool) {
	for i := range g.Fetch {
		f := &g.Fetch[i]
		if !covers(f, t) || !slices.Contains(f.Methods, t.method) || !slices.ContainsFunc(f.Paths, func(p string) bool { return under(p, t.path) }) {
			continue
		}
		if secret == "" || f.Secret == secret {
			return f, true
		}
		covered = true
	}
	return nil, covered
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
	return config.MatchHost(f.Host, t.host) && scheme == t.scheme && port == t.port
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
