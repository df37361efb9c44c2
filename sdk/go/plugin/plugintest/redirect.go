package plugintest

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
	"github.com/patchbay-run/patchbay/sdk/go/internal/bridge"
)

// hop is a request of a fetch: the first, or one that it was redirected to.
type hop struct {
	host   *Host
	req    *http.Request
	fields []abi.Field
	op     bridge.Op
	secret string
	url    string // as the plugin would write it
	from   string // url, once redirects were followed
	left   int    // how many may be
}

// newHop takes what of op is the guest's only during submit.
func newHop(h *Host, req *http.Request, fields []abi.Field, op *bridge.Op, redirects int) *hop {
	at := &hop{host: h, req: req, fields: fields, op: *op, secret: strings.Clone(op.Name), url: abi.Get(fields, ":url"), left: redirects}
	at.op.Body = bytes.Clone(op.Body)
	return at
}

// redirects is how many a fetch asks to have followed.
func redirects(fields []abi.Field) (int, *abi.Error) {
	text := abi.Get(fields, ":redirects")
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 20 {
		return 0, &abi.Error{Code: abi.Invalid, Text: fmt.Sprintf("fetch: :redirects is %.20q: want 0 to 20", text)}
	}
	return n, nil
}

// follow makes the request and those that it is redirected to, as the server does: by the statuses' rules, with the secret and the headers
// for the first upstream only. A refusal is in the second result.
func (at *hop) follow() (*http.Response, *abi.Error, error) {
	first := at.left
	for {
		res, err := at.host.client.Do(at.req)
		if err != nil {
			return nil, nil, err
		}
		location := res.Header.Get("Location")
		if first == 0 || location == "" || !slices.Contains([]int{301, 302, 303, 307, 308}, res.StatusCode) {
			return res, nil, nil
		}
		res.Body.Close()
		if fail := at.next(res.StatusCode, location, first); fail != nil {
			return nil, fail, nil
		}
	}
}

// next turns to where an answer redirects. first is how many redirects may be followed in all.
func (at *hop) next(status int, location string, first int) *abi.Error {
	before, err := url.Parse(at.url)
	if err != nil {
		return &abi.Error{Code: abi.Denied, Text: "fetch: " + err.Error()}
	}
	to, err := before.Parse(location)
	if err != nil {
		return &abi.Error{Code: abi.Denied, Text: "fetch: a redirect's Location cannot be read"}
	}
	// An upstream is named by its own plugin, and by no server.
	if given, _ := url.Parse(location); to.Scheme != "https" && to.Scheme != "http" && (to.Scheme != before.Scheme || given.Scheme != "") {
		return &abi.Error{Code: abi.Denied, Text: "fetch: a redirect leads to neither https nor http"}
	}
	to.Fragment = ""
	plain(before)
	plain(to)
	method := at.req.Method
	if status == 303 && method != "HEAD" || status < 303 && method == "POST" {
		method = "GET"
	}
	away := to.Scheme != before.Scheme || to.Host != before.Host
	sends := len(at.op.Body) > 0 || at.op.Flags&abi.OpEnd == 0
	gone := sends && method != at.req.Method
	switch {
	case gone:
		at.op.Body, at.op.Flags = nil, at.op.Flags|abi.OpEnd
	case sends && (away || at.op.Flags&abi.OpEnd == 0):
		return &abi.Error{Code: abi.Denied, Text: "fetch: a redirect would send the body elsewhere, or a stream twice"}
	}
	if at.left--; at.left < 0 {
		return &abi.Error{Code: abi.Limit, Text: fmt.Sprintf("fetch: over %d redirects", first)}
	}
	fields := []abi.Field{{Name: ":method", Value: method}, {Name: ":url", Value: to.String()}}
	for _, f := range at.fields {
		switch {
		case strings.HasPrefix(f.Name, ":"), gone && (strings.HasPrefix(f.Name, "content-") || f.Name == "digest"):
		case !away, slices.Contains([]string{"accept", "accept-language", "accept-encoding", "user-agent", "content-type"}, f.Name):
			fields = append(fields, f)
		}
	}
	if away {
		at.secret = ""
	}
	req, fail := at.host.request(fields, &at.op, at.secret)
	if fail != nil {
		return fail
	}
	at.req, at.fields, at.url, at.from = req.WithContext(at.req.Context()), fields, to.String(), to.String()
	return nil
}

// plain is a URL's host in the one spelling that the server has for it: in lower case, without a dot at its end or the scheme's own port.
func plain(u *url.URL) {
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if p := u.Port(); p != "" && p != map[string]string{"https": "443", "http": "80"}[u.Scheme] {
		host += ":" + p
	}
	u.Host = host
}
