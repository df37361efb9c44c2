package capability

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

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

func newFetch(h *Host, p Plugin) wasm.Capability { return (&fetch{h, p}).do }

// do passes one call through policy, secret and pool. Redirects are not followed: the guest gets them as answers,
// and where they point is a call of its own.
func (f *fetch) do(ctx context.Context, in *wasm.Operation) (*wasm.Reply, error) {
	t, err := parseTarget(abi.Get(in.Fields, ":method"), abi.Get(in.Fields, ":url"))
	if err != nil {
		return nil, &abi.Error{Code: abi.Invalid, Text: "fetch: " + err.Error()}
	}
	grant, missing := grantFor(f.plugin.Grant, t)
	if grant == nil {
		return nil, f.refuse(in, fmt.Sprintf("plugin %q may not %s %s: add to its grant.fetch: %s", f.plugin.Name, t.method, address(t), missing))
	}
	if in.Name != "" && in.Name != grant.Secret {
		return nil, f.refuse(in, fmt.Sprintf("plugin %q may not use secret %q for %s: add secret: %s to that line of its grant.fetch", f.plugin.Name, in.Name, address(t), in.Name))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	// The deadline is for the head alone; the body has the pool's limit between two chunks.
	if in.Timeout > 0 {
		timer := time.AfterFunc(in.Timeout, func() { cancel(context.DeadlineExceeded) })
		defer timer.Stop()
	}
	resp, err := f.call(ctx, in, t, grant)
	if err != nil {
		cancel(nil)
		return nil, f.explain(in, err)
	}
	return &wasm.Reply{
		Status: resp.StatusCode,
		Fields: headers(resp.Header),
		Body:   &body{resp.Body, cancel},
		Length: resp.ContentLength,
	}, nil
}

func (f *fetch) call(ctx context.Context, in *wasm.Operation, t *target, grant *config.Fetch) (*http.Response, error) {
	parts := f.host.Parts()
	var named *upstream.Upstream
	to := *t.url
	if t.upstream != "" {
		u, ok := parts.Upstreams.Named(t.upstream)
		if !ok {
			return nil, &abi.Error{Code: abi.Invalid, Text: fmt.Sprintf("fetch: there is no upstream %q: add it to upstreams", t.upstream)}
		}
		built, err := u.URL(t.url.EscapedPath(), t.url.RawQuery)
		if err != nil {
			return nil, &abi.Error{Code: abi.Invalid, Text: "fetch: " + err.Error()}
		}
		named, to = u, *built
	}
	req := (&http.Request{Method: t.method, URL: &to, Host: to.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}}).WithContext(ctx)
	if err := setHeaders(req, in.Fields); err != nil {
		return nil, err
	}
	setBody(req, in)
	if named == nil {
		if in.Name != "" {
			if err := parts.Secrets.put(req, in.Name, grant.As, ""); err != nil {
				return nil, f.refuse(in, err.Error())
			}
		}
		return parts.Upstreams.Shared().Do(req, upstream.Policy{Private: grant.Private, Owner: f.plugin.Name})
	}
	if auth := parts.Named[t.upstream].Auth; auth.Secret != "" && !isDemo(parts.Named[t.upstream]) {
		if err := parts.Secrets.put(req, auth.Secret, auth.As, t.upstream); err != nil {
			return nil, f.refuse(in, err.Error())
		}
	}
	return named.Do(req, upstream.Policy{})
}

// isDemo says whether an upstream is the server's own demo, which needs no secret and gets none.
func isDemo(u config.Upstream) bool {
	for _, e := range u.Endpoints {
		if !strings.HasPrefix(e, "demo:") {
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
		if reserved(h.Name) {
			return &abi.Error{Code: abi.Invalid, Text: fmt.Sprintf("fetch: the header %q is the host's to set: leave it out", h.Name)}
		}
		if !validHeader(h) {
			return &abi.Error{Code: abi.Invalid, Text: fmt.Sprintf("fetch: %q is no header, or its value holds a control character", h.Name)}
		}
		req.Header.Add(h.Name, h.Value)
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "patchbay")
	}
	return nil
}

// reserved is what speaks of the connection, of where the request goes or of whom it is from.
func reserved(name string) bool {
	switch name {
	case "host", "connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "content-length", "expect",
		"forwarded", "via", "proxy-authorization", "proxy-connection", "proxy-authenticate":
		return true
	}
	return strings.HasPrefix(name, "proxy-") || strings.HasPrefix(name, "x-forwarded-")
}

func validHeader(h abi.Field) bool {
	if h.Name == "" || strings.ContainsFunc(h.Name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune("()<>@,;:\\\"/[]?={}", r)
	}) {
		return false
	}
	return !strings.ContainsFunc(h.Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

func setBody(req *http.Request, in *wasm.Operation) {
	switch {
	case in.Stream != nil:
		req.Body, req.ContentLength = io.NopCloser(in.Stream), -1
	case len(in.Body) > 0:
		data := in.Body
		req.ContentLength = int64(len(data))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
		req.Body, _ = req.GetBody()
	default:
		req.Body = http.NoBody
	}
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

// body ends the call's context when it is closed.
type body struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = coded(err)
	}
	return n, err
}

func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.cancel(nil)
	return err
}

func (f *fetch) refuse(in *wasm.Operation, text string) error {
	if f.plugin.Refused.Add(text) {
		f.plugin.Log.Warn("a call was refused", "why", text, "request", in.RequestID)
	}
	return &abi.Error{Code: abi.Denied, Text: text}
}

// explain logs a call that failed, since the guest's text may be all that is left of the cause, and gives it its code.
func (f *fetch) explain(in *wasm.Operation, err error) error {
	e := coded(err)
	if c := e.(*abi.Error); c.Code != abi.Denied && c.Code != abi.Cancelled {
		f.plugin.Log.Info("a call failed", "why", c.Text, "request", in.RequestID)
	}
	return e
}

// coded maps what an outbound call can give to what the guest is told.
func coded(err error) error {
	var already *abi.Error
	if errors.As(err, &already) {
		return already
	}
	for _, m := range []struct {
		is   error
		code abi.Code
	}{
		{upstream.ErrPoolTimeout, abi.Pool},
		{upstream.ErrConnectTimeout, abi.Timeout},
		{upstream.ErrConnect, abi.Connect},
		{upstream.ErrResponseTimeout, abi.Timeout},
		{upstream.ErrChunkTimeout, abi.Timeout},
		{upstream.ErrBlocked, abi.Blocked},
		{upstream.ErrReset, abi.Reset},
		{upstream.ErrProtocol, abi.Reset},
		{context.DeadlineExceeded, abi.Timeout},
		{context.Canceled, abi.Cancelled},
		{io.ErrUnexpectedEOF, abi.Reset},
	} {
		if errors.Is(err, m.is) {
			return &abi.Error{Code: m.code, Text: err.Error()}
		}
	}
	return &abi.Error{Code: abi.Reset, Text: err.Error()}
}

// address names a target without its query, which may hold what a person typed.
func address(t *target) string {
	u := *t.url
	u.RawQuery = ""
	return u.String()
}
