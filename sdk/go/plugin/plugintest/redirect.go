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
func newHop(h *Host, req *http.Request, fields []abi.Field, op *bridge.Op) *hop {
	at := &hop{host: h, req: req, fields: fields, op: *op, secret: strings.Clone(op.Name), url: abi.Get(fields, ":url")}
	at.op.Body = bytes.Clone(op.Body)
	at.left, _ = strconv.Atoi(abi.Get(fields, ":redirects"))
	return at
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
		if at.left--; at.left < 0 {
			return nil, &abi.Error{Code: abi.Limit, Text: fmt.Sprintf("fetch: over %d redirects", first)}, nil
		}
		if fail := at.next(res.StatusCode, location); fail != nil {
			return nil, fail, nil
		}
	}
}

func (at *hop) next(status int, location string) *abi.Error {
	before, err := url.Parse(at.url)
	if err != nil {
		return &abi.Error{Code: abi.Denied, Text: "fetch: " + err.Error()}
	}
	to, err := before.Parse(location)
	if err != nil {
		return &abi.Error{Code: abi.Denied, Text: "fetch: a redirect's Location cannot be read"}
	}
	if to.Scheme != before.Scheme && to.Scheme != "https" && to.Scheme != "http" {
		return &abi.Error{Code: abi.Denied, Text: "fetch: a redirect leads to neither https nor http"}
	}
	to.Fragment = ""
	method := at.req.Method
	if status == 303 && method != "HEAD" || status < 303 && method == "POST" {
		method = "GET"
	}
	away := to.Scheme != before.Scheme || !strings.EqualFold(to.Host, before.Host)
	sends := len(at.op.Body) > 0 || at.op.Flags&abi.OpEnd == 0
	switch {
	case method != at.req.Method:
		at.op.Body, at.op.Flags = nil, at.op.Flags|abi.OpEnd
	case sends && (away || at.op.Flags&abi.OpEnd == 0):
		return &abi.Error{Code: abi.Denied, Text: "fetch: a redirect would send the body elsewhere, or a stream twice"}
	}
	fields := []abi.Field{{Name: ":method", Value: method}, {Name: ":url", Value: to.String()}}
	for _, f := range at.fields {
		if !strings.HasPrefix(f.Name, ":") && (!away || strings.HasPrefix(f.Name, "accept") || f.Name == "user-agent" || f.Name == "content-type") {
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
