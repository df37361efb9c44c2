// Package nethttp lets code written for net/http run in a plugin: handlers, and clients of any library that takes an http.RoundTripper.
// It costs the size of net/http in the module (some MiB), so a plugin that does without is smaller and starts faster.
package nethttp

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// Handler is h as a plugin's handler. The request's context passes, path values are set, and the writer is an http.Flusher.
// A panic with http.ErrAbortHandler aborts the connection, or is answered with 500 when nothing was sent.
func Handler(h http.Handler) plugin.Handler {
	return func(w *plugin.Response, r *plugin.Request) error {
		req, err := request(r)
		if err != nil {
			return &plugin.Error{Status: 400, Detail: "The request's address is malformed.", Err: err}
		}
		rw := &writer{w: w, header: http.Header{}}
		h.ServeHTTP(rw, req)
		rw.WriteHeader(http.StatusOK)
		return rw.err
	}
}

// request is r for net/http.
func request(r *plugin.Request) (*http.Request, error) {
	target := r.Path
	if r.RawQuery != "" {
		target += "?" + r.RawQuery
	}
	at, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, err
	}
	req := &http.Request{
		Method: r.Method, URL: at, RequestURI: target, Host: r.Host, RemoteAddr: r.Client,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(r.Body), ContentLength: -1,
	}
	for name, value := range r.Header.All() {
		req.Header.Add(name, value)
	}
	if size, err := strconv.ParseInt(req.Header.Get("Content-Length"), 10, 64); err == nil {
		req.ContentLength = size
	}
	for name, value := range r.PathValues() {
		req.SetPathValue(name, value)
	}
	return req.WithContext(r.Context()), nil
}

// writer is a plugin's response for net/http.
type writer struct {
	w      *plugin.Response
	header http.Header
	wrote  bool
	err    error // the first of a write: it ends the answer
}

func (w *writer) Header() http.Header { return w.header }

func (w *writer) WriteHeader(status int) {
	if w.wrote || status >= 100 && status <= 199 { // an interim answer is the host's to give
		return
	}
	w.wrote = true
	for name, values := range w.header {
		for _, v := range values {
			w.w.Header().Add(name, v)
		}
	}
	w.w.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	n, err := w.w.Write(p)
	if err != nil && w.err == nil {
		w.err = err
	}
	return n, err
}

// Flush is that of http.Flusher.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController calls.
func (w *writer) FlushError() error {
	w.WriteHeader(http.StatusOK)
	err := w.w.Flush()
	if err != nil && w.err == nil {
		w.err = err
	}
	return err
}

// Transport is an http.RoundTripper over plugin.Fetch. A request's context must descend from plugin.Request.Context or plugin.Plugin.Context.
type Transport struct {
	Secret  string        // that the host puts into every call; a header cannot name one
	Timeout time.Duration // until the head of a reply; 0 is the host's limit
}

// RoundTrip makes the call, and no other: an http.Client follows redirects itself. A body of unknown length, or over 64 KiB, is sent as it is read. It closes the request's body.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	call := &plugin.Call{Method: req.Method, URL: req.URL.String(), Secret: t.Secret, Timeout: t.Timeout, Redirects: plugin.NoRedirects}
	for name, values := range req.Header {
		for _, v := range values {
			call.Header.Add(name, v)
		}
	}
	if req.Body != nil {
		defer req.Body.Close()
		if req.ContentLength > 0 && req.ContentLength <= 64<<10 {
			b, err := io.ReadAll(req.Body)
			if err != nil {
				return nil, err
			}
			call.Body = b
		} else if req.Body != http.NoBody {
			call.Stream = req.Body // without its length, which is the host's to set
		}
	}
	reply, err := plugin.Fetch(req.Context(), call)
	if err != nil {
		return nil, err
	}
	res := &http.Response{
		Status: strings.TrimSpace(strconv.Itoa(reply.Status) + " " + http.StatusText(reply.Status)), StatusCode: reply.Status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: reply.Body, ContentLength: -1, Request: req,
	}
	for name, value := range reply.Header.All() {
		res.Header.Add(name, value)
	}
	if size, err := strconv.ParseInt(res.Header.Get("Content-Length"), 10, 64); err == nil {
		res.ContentLength = size
	}
	return res, nil
}
