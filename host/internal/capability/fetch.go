package capability

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// fetch makes a plugin's outbound calls.
type fetch struct {
	host   *Host
	plugin Plugin
}

func newFetch(h *Host, p Plugin, t *Table) { t.Slow[abi.OpFetch] = (&fetch{h, p}).do }

// do passes a call, and each of its redirects, through policy, secret and pool.
func (f *fetch) do(ctx context.Context, in *wasm.Operation) (*wasm.Reply, error) {
	t, err := parseTarget(abi.Get(in.Fields, ":method"), abi.Get(in.Fields, ":url"))
	if err != nil {
		return nil, &abi.Error{Code: abi.Invalid, Text: "fetch: " + err.Error()}
	}
	redirects, err := maxRedirects(in.Fields)
	if err != nil {
		return nil, err
	}
	timeout := in.Timeout
	if timeout == 0 {
		timeout = longestHead
	}
	head := newHeadContext(ctx, in.Stop, timeout)
	h := &hop{target: t, fields: in.Fields, body: in.Body, stream: in.Stream, secret: in.Name}
	x := f.watch(ctx, in, h)
	reply, err := f.follow(upstream.Alone(head), in, h, x, redirects)
	if !head.arrived() && err == nil { // it has ended the call, whose body would fail
		reply.Body.Close()
		err = f.explain(in, coded(fmt.Errorf("fetch: %w", context.DeadlineExceeded), nil))
	}
	if err != nil {
		x.end(err)
		return nil, err
	}
	return x.answered(reply), nil
}

// follow makes the call and goes where it is redirected to, as far as the guest wants it.
func (f *fetch) follow(ctx context.Context, in *wasm.Operation, h *hop, x *exchange, redirects int) (*wasm.Reply, error) {
	parts := f.host.Parts()
	for n := 0; ; n++ {
		grant, err := f.allow(in, parts, h)
		if err != nil {
			return nil, err
		}
		resp, err := f.call(ctx, in, parts, h, x, grant)
		if errors.Is(err, upstream.ErrBlocked) {
			return nil, f.blocked(in, h, err)
		}
		if err != nil {
			return nil, f.explain(in, coded(err, h.masks))
		}
		var next *hop
		if redirects > 0 {
			named, _ := parts.Upstreams.Named(h.target.upstream)
			next, err = h.next(resp, named)
		}
		switch {
		case err == nil && next == nil:
			reply, err := f.reply(parts, h, resp)
			if err != nil {
				discard(resp)
				return nil, f.explain(in, coded(err, h.masks))
			}
			return reply, nil
		case err == nil && n == redirects:
			err = &abi.Error{Code: abi.Limit, Text: fmt.Sprintf("fetch: over %d redirects, the last from %s", redirects, server(h.target))}
		case err != nil:
			err = f.refuse(in, fmt.Sprintf("plugin %q: %v", f.plugin.Name, err))
		}
		discard(resp)
		if err != nil {
			return nil, err
		}
		h = next
	}
}

// allow finds the line of the grant that covers a hop. A redirect takes the secret only where a line gives it to.
func (f *fetch) allow(in *wasm.Operation, parts *Parts, h *hop) (*config.Fetch, error) {
	grant, covered := grantFor(f.plugin.Grant, h.target, h.secret)
	if h.from != "" && (grant == nil && covered || grant != nil && h.secret != "" && parts.Secrets.bound(h.secret, h.target) != nil) {
		h.secret = ""
		grant, covered = grantFor(f.plugin.Grant, h.target, "")
	}
	switch {
	case grant != nil:
		return grant, nil
	case covered:
		text := func(address string) string {
			return fmt.Sprintf("plugin %q may not use secret %.80q for %s: add secret: %.80s to that line of its grant.fetch", f.plugin.Name, h.secret, address, yaml(h.secret))
		}
		return nil, f.plugin.refuseAs(in, text(server(h.target)), text(address(h.target)))
	}
	redirected := ""
	if h.from != "" {
		redirected = ", where " + h.from + " redirects to"
	}
	text := func(address, line string) string {
		return fmt.Sprintf("plugin %q may not %s %s%s: add to its grant.fetch: %s", f.plugin.Name, h.target.method, address, redirected, line)
	}
	return nil, f.plugin.refuseAs(in, text(server(h.target), missing(h.target, h.secret, anyPath)+f.where()), text(address(h.target), missing(h.target, h.secret, grantable(h.target.path))))
}

// reply is the answer as the guest gets it.
func (f *fetch) reply(parts *Parts, h *hop, resp *http.Response) (*wasm.Reply, error) {
	limit, setting := parts.Client.MaxResponse, "client.max_response"
	if u := h.target.upstream; u != "" {
		limit, setting = parts.Named[u].MaxResponse, "upstreams."+u+".max_response"
	}
	b, length, err := open(resp, int64(limit), setting, h.masks)
	if err != nil {
		return nil, err
	}
	fields := headers(resp.Header)
	if h.from != "" {
		fields = append(fields, abi.Field{Name: ":url", Value: h.target.url.String()})
	}
	for i := range fields {
		for _, m := range h.masks {
			fields[i].Value = m.text(fields[i].Value)
		}
	}
	return &wasm.Reply{Status: resp.StatusCode, Fields: fields, Body: b, Length: length}, nil
}

func (f *fetch) call(ctx context.Context, in *wasm.Operation, parts *Parts, h *hop, x *exchange, grant *config.Fetch) (*http.Response, error) {
	t := h.target
	var named *upstream.Upstream
	to := t.url
	if t.upstream != "" {
		u, ok := parts.Upstreams.Named(t.upstream)
		if !ok {
			return nil, &abi.Error{Code: abi.Invalid, Text: fmt.Sprintf("fetch: there is no upstream %q: add it to upstreams", t.upstream)}
		}
		built, err := u.URL(t.escapedPath(), t.url.RawQuery)
		if err != nil {
			return nil, &abi.Error{Code: abi.Invalid, Text: "fetch: " + err.Error()}
		}
		if h.to != nil {
			built, ctx = h.to, upstream.Addressed(ctx)
		}
		named, to = u, built
	}
	req := (&http.Request{Method: t.method, URL: to, Host: to.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}}).WithContext(ctx)
	if err := setHeaders(req, h.fields); err != nil {
		return nil, err
	}
	if err := authorize(req, parts, h, grant); err != nil {
		return nil, f.refuse(in, fmt.Sprintf("plugin %q: %v", f.plugin.Name, err))
	}
	setBody(req, h)
	if named != nil && in.RequestID != "" && req.Header.Get("X-Request-Id") == "" {
		// The operator's own services log it too. To others it would only tell calls of one request apart.
		req.Header.Set("X-Request-Id", in.RequestID)
	}
	req = x.allowed(req, t, grant)
	if named == nil {
		return parts.Upstreams.Shared().Do(req, upstream.Policy{Private: grant.Private, Owner: f.plugin.Name})
	}
	if abi.Get(in.Fields, ":idempotent") == "1" {
		req = req.WithContext(upstream.Idempotent(req.Context()))
	}
	return named.Do(req, upstream.Policy{})
}

// authorize puts in the upstream's own secret, and the one that the guest named, and notes what to look for in the answer.
func authorize(req *http.Request, parts *Parts, h *hop, grant *config.Fetch) error {
	put := func(name, as string) error {
		if name == "" {
			return nil
		}
		m, err := parts.Secrets.put(req, name, as, h.target)
		if m != nil && !slices.Contains(h.masks, m) {
			h.masks = append(h.masks, m)
		}
		return err
	}
	if h.target.upstream != "" {
		u := parts.Named[h.target.upstream]
		if isDemo(u) {
			return nil
		}
		if err := put(u.Auth.Secret, u.Auth.As); err != nil {
			return err
		}
	}
	return put(h.secret, grant.As)
}

// isDemo says whether an upstream is the server's own demo, which needs no secret and gets none.
func isDemo(u config.Upstream) bool {
	for _, e := range u.Endpoints {
		if !strings.HasPrefix(e.URL, "demo:") {
			return false
		}
	}
	return true
}

// setHeaders copies the guest's headers, but for those that are the host's to set.
func setHeaders(req *http.Request, fields []abi.Field) error {
	for _, h := range fields {
		if strings.HasPrefix(h.Name, ":") {
			continue
		}
		if !validHeader(h) {
			return &abi.Error{Code: abi.Invalid, Text: fmt.Sprintf("fetch: %.80q is no header in lower case, or its value holds a control character", h.Name)}
		}
		if abi.HostHeader(h.Name) {
			return &abi.Error{Code: abi.Invalid, Text: fmt.Sprintf("fetch: the header %.80q is the host's to set: leave it out", h.Name)}
		}
		if h.Name == "accept-encoding" {
			h.Value = unpackable(h.Value)
		}
		req.Header.Add(h.Name, h.Value)
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "patchbay")
	}
	return nil
}

// unpackable is what the host can unpack of the codings that a guest would take: guests get answers unpacked.
func unpackable(codings string) string {
	if strings.Contains(strings.ToLower(codings), "gzip") {
		return "gzip"
	}
	return "identity"
}

// validHeader wants a name in lower case, so that no other spelling of a reserved one passes.
func validHeader(h abi.Field) bool {
	return isToken(h.Name) && h.Name == strings.ToLower(h.Name) &&
		!strings.ContainsFunc(h.Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// isToken says whether s is a token of RFC 9110, 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("()<>@,;:\\\"/[]?={}", r)
	})
}

func setBody(req *http.Request, h *hop) {
	switch {
	case h.stream != nil:
		req.Body, req.ContentLength = feed(h.stream), -1
	case len(h.body) > 0:
		data := h.body
		req.ContentLength = int64(len(data))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
		req.Body, _ = req.GetBody()
	default:
		req.Body = http.NoBody
	}
}

// feed makes a stream a body whose Close ends a Read that waits for the guest; the pool relies on that when a call is given up. The
// goroutine ends with the stream, which the engine ends when the capability has returned.
func feed(stream io.Reader) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, stream)
		_ = w.CloseWithError(err)
	}()
	return r
}

// headers are the answer's, in lower case, without those of the connection.
func headers(h http.Header) []abi.Field {
	fields := make([]abi.Field, 0, len(h))
	for name, values := range h {
		name = strings.ToLower(name)
		switch name {
		case "connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authenticate", "proxy-connection":
			continue
		}
		for _, v := range values {
			fields = append(fields, abi.Field{Name: name, Value: v})
		}
	}
	return fields
}

func (f *fetch) refuse(in *wasm.Operation, text string) error { return f.plugin.refuse(in, text) }

// blocked says which setting would allow the address, if it is meant.
func (f *fetch) blocked(in *wasm.Operation, h *hop, err error) error {
	text, shown := fmt.Sprintf("plugin %q: %v", f.plugin.Name, err), ""
	if h.from != "" {
		text += ", where " + h.from + " redirects to"
	}
	if u := h.target.upstream; u != "" {
		text += fmt.Sprintf(": if that is meant, set upstreams.%s.private: true", u)
	} else {
		text += ": if that is meant, its line in grant.fetch is "
		shown = text + allowing(h.target, h.secret, grantable(h.target.path), true)
		text += allowing(h.target, h.secret, anyPath, true) + f.where()
	}
	f.plugin.remember(in, text, cmp.Or(shown, text))
	return &abi.Error{Code: abi.Blocked, Text: text}
}

// where says where the path is shown that a message leaves out.
func (f *fetch) where() string {
	return ", with the path that the admin listener's /api/plugins/" + f.plugin.Name + " shows"
}

// explain logs a call that failed, since the guest's text may be all that is left of the cause, and gives it its code.
func (f *fetch) explain(in *wasm.Operation, err error) error {
	if c := err.(*abi.Error); c.Code != abi.Denied && c.Code != abi.Cancelled {
		f.plugin.Log.Info("a call failed", "why", c.Text, "request", in.RequestID)
	}
	return err
}
