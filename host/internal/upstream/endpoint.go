package upstream

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

const (
	demoScheme = "demo:"
	chatPath   = "/v1/chat/completions"
	chatSuffix = "/chat/completions"
)

// endpoint is one address of an upstream: a base that request paths are appended to, and the
// full chat URL when the operator wrote that instead of a base.
type endpoint struct {
	base *url.URL // its path has no "/" at the end
	chat *url.URL // nil: base + chatPath
	demo bool     // stands for a "demo:" address
}

// resolveEndpoint reads one entry of an upstream's endpoints.
func resolveEndpoint(raw string, resolve func(string) (string, error)) (endpoint, error) {
	demo := strings.HasPrefix(raw, demoScheme)
	if demo {
		if resolve == nil {
			return endpoint{}, fmt.Errorf("%q: there is no demo upstream here; give an http or https URL", raw)
		}
		at, err := resolve(raw)
		if err != nil {
			return endpoint{}, fmt.Errorf("resolve %q: %w", raw, err)
		}
		raw = at
	}
	e, err := parseEndpoint(raw)
	e.demo = demo
	return e, err
}

// parseEndpoint reads a base URL ("http://h", "http://h/gpustack", "http://h/v1") or a full chat
// URL ("http://h/v1/chat/completions", "http://h/v1-openai/chat/completions").
func parseEndpoint(raw string) (endpoint, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The parser's error quotes the whole URL, which may hold a password.
		var cause *url.Error
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return endpoint{}, fmt.Errorf("parse the URL: %w", err)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return endpoint{}, fmt.Errorf("%q is no http or https URL: write http://host:port or https://host", u.Redacted())
	case u.Hostname() == "":
		return endpoint{}, fmt.Errorf("%q names no host", u.Redacted())
	case u.User != nil:
		return endpoint{}, fmt.Errorf("%q holds a user name: put the key in a secret and name it under auth", u.Redacted())
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return endpoint{}, fmt.Errorf("%q holds a query or a fragment: give the address without", u.Redacted())
	}
	path := strings.TrimRight(u.EscapedPath(), "/")
	if err := checkPath(path + "/"); err != nil {
		return endpoint{}, err
	}
	base, isChat := splitChat(path)
	at := withPath(u, base)
	e := endpoint{base: &at}
	if isChat {
		chat := withPath(u, path)
		e.chat = &chat
		return e, nil
	}
	// People write the API's root as OpenAI clients want it. The request's own /v1 replaces it.
	if head, last := cutLast(path); isV1(last) {
		at, chat := withPath(u, head), withPath(u, path+chatSuffix)
		e.base, e.chat = &at, &chat
	}
	return e, nil
}

// splitChat says whether path is a full chat path, and what precedes its API: everything before
// the last /v1 or /v1-… segment, or before /chat/completions when there is none.
func splitChat(path string) (base string, isChat bool) {
	head, isChat := strings.CutSuffix(path, chatSuffix)
	if !isChat {
		return path, false
	}
	for rest := head; rest != ""; {
		var last string
		if rest, last = cutLast(rest); isV1(last) {
			return rest, true
		}
	}
	return head, true
}

// cutLast splits "/a/b" into "/a" and "b".
func cutLast(path string) (head, last string) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}

func isV1(segment string) bool {
	return segment == "v1" || strings.HasPrefix(segment, "v1-")
}

// url appends a request's path to the endpoint.
func (e endpoint) url(path, rawQuery string) (u url.URL, err error) {
	if !strings.HasPrefix(path, "/") {
		return u, fmt.Errorf("path %q does not begin with %q", path, "/")
	}
	if err := checkPath(path); err != nil {
		return u, err
	}
	if path == chatPath && e.chat != nil {
		u = withPath(e.chat, e.chat.EscapedPath())
	} else {
		u = withPath(e.base, e.base.EscapedPath()+path)
	}
	u.RawQuery = rawQuery
	return u, nil
}

// cut is the reverse of url: the path that leads to u, which is on the endpoint's server.
func (e endpoint) cut(u *url.URL) (path string, ok bool) {
	escaped := u.EscapedPath()
	if e.chat != nil && escaped == e.chat.EscapedPath() {
		return chatPath, true
	}
	path, ok = strings.CutPrefix(escaped, e.base.EscapedPath())
	if path == "" {
		path = "/"
	}
	return path, ok && path[0] == '/'
}

// checkPath refuses what would make an escaped path mean something else once it is joined.
func checkPath(path string) error {
	if strings.ContainsAny(path, "?#") {
		return fmt.Errorf("path %q holds %q or %q: a query is passed apart", path, "?", "#")
	}
	plain, err := url.PathUnescape(path)
	if err != nil {
		return fmt.Errorf("path %q: %w", path, err)
	}
	for segment := range strings.SplitSeq(plain, "/") {
		if segment == "." || segment == ".." {
			return fmt.Errorf("path %q holds a %q segment: write it out", path, segment)
		}
	}
	return nil
}

// withPath copies u with another path, which is in its escaped form and already checked.
func withPath(u *url.URL, escaped string) url.URL {
	plain, _ := url.PathUnescape(escaped) // checkPath has proved that it can be
	return url.URL{Scheme: u.Scheme, Host: u.Host, Path: plain, RawPath: escaped}
}
