package capability

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/patchbay-run/patchbay/host/internal/upstream"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

const (
	mostRedirects = 20
	drained       = 4 << 10 // bytes of a redirect's body, so that its connection serves the next call
)

// hop is one request of a call: the first, or one that a redirect asked for.
type hop struct {
	target *target
	from   string   // the address that redirected here; "" is nobody
	to     *url.URL // the address on an endpoint of the upstream that it redirected to; nil is any endpoint
	fields []abi.Field
	body   []byte
	stream io.Reader
	secret string  // the name of the guest's; "" is none, or that it stayed behind
	masks  []*mask // of the secrets that were sent so far
}

// maxRedirects is how many redirects the guest wants to have followed; a redirect is an answer to one who did not say.
func maxRedirects(fields []abi.Field) (int, error) {
	text := abi.Get(fields, ":redirects")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > mostRedirects {
		return 0, &abi.Error{Code: abi.Invalid, Text: fmt.Sprintf("fetch: :redirects is %.20q: want 0 to %d", text, mostRedirects)}
	}
	return n, nil
}

// next is the request that an answer redirects to, by RFC 9110, 15.4; nil when it is no redirect. An error is a rule that it
// breaks. Whether the request is granted is still to be seen. u is the upstream that was called, nil for a host.
func (h *hop) next(resp *http.Response, u *upstream.Upstream) (*hop, error) {
	location := resp.Header.Get("Location")
	method := h.target.method
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound:
		if method == http.MethodPost {
			method = http.MethodGet // what every client does, and the RFC allows
		}
	case http.StatusSeeOther:
		if method != http.MethodHead {
			method = http.MethodGet
		}
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	if location == "" {
		return nil, nil
	}
	for _, m := range h.masks { // a secret goes neither there nor into a message
		location = m.text(location)
	}
	from := server(h.target)
	to, named, err := resolve(resp.Request.URL, location, u)
	if err != nil {
		return nil, fmt.Errorf("a redirect of %s is refused: %w", from, err)
	}
	t, err := parseTarget(method, named)
	if err != nil {
		return nil, fmt.Errorf("a redirect of %s is refused: %w", from, err)
	}
	n := &hop{target: t, from: from, to: to, fields: h.fields, secret: h.secret, masks: h.masks}
	away := t.origin() != h.target.origin()
	if resp.StatusCode >= http.StatusTemporaryRedirect || method == h.target.method {
		switch {
		case h.stream != nil:
			return nil, fmt.Errorf("a redirect of %s to %s is refused: the body was a stream, which is sent once; call that address, or send the whole body at once", from, server(t))
		case away && len(h.body) > 0:
			return nil, fmt.Errorf("a redirect of %s to %s is refused: it would send the body to another server; call that address if it is meant", from, server(t))
		}
		n.body = h.body
	}
	n.fields = follows(h.fields, away, len(n.body) == 0 && (len(h.body) > 0 || h.stream != nil))
	return n, nil
}

// resolve makes an absolute URL of a Location. at is what was called; for an upstream u that is on one of its endpoints, and what lies
// below any of them is still the upstream: then to is that address, and named says it by the upstream's name.
func resolve(at *url.URL, location string, u *upstream.Upstream) (to *url.URL, named string, err error) {
	to, err = at.Parse(location)
	if err != nil {
		return nil, "", fmt.Errorf("its Location cannot be read")
	}
	if to.Scheme != "https" && to.Scheme != "http" { // an upstream is named by its own plugin, and by no server
		return nil, "", fmt.Errorf("it leads to neither https nor http")
	}
	to.Fragment, to.RawFragment = "", "" // never sent
	if u == nil {
		return nil, to.String(), nil
	}
	path, near := u.Path(to)
	switch {
	case path != "":
	case near:
		return nil, "", fmt.Errorf("it leaves the endpoint's path: set the new address as an endpoint of upstream %s", u.Name())
	default:
		return nil, to.String(), nil
	}
	named = "upstream://" + u.Name() + path
	if to.RawQuery != "" {
		named += "?" + to.RawQuery
	}
	return to, named, nil
}

// follows are the headers that go along. To another server only those that say what is understood: any other may be a key. Those
// of the body go when it does.
func follows(fields []abi.Field, away, bodyGone bool) []abi.Field {
	kept := make([]abi.Field, 0, len(fields))
	for _, f := range fields {
		switch {
		case bodyGone && (strings.HasPrefix(f.Name, "content-") || f.Name == "digest"):
		case !away, f.Name == "accept", f.Name == "accept-language", f.Name == "accept-encoding", f.Name == "user-agent", f.Name == "content-type":
			kept = append(kept, f)
		}
	}
	return kept
}

// discard ends an answer that nobody reads.
func discard(resp *http.Response) {
	if resp.ContentLength >= 0 && resp.ContentLength <= drained {
		_, _ = io.CopyN(io.Discard, resp.Body, resp.ContentLength+1) // its end is behind the last byte
	}
	_ = resp.Body.Close()
}
