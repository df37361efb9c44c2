// Command fetcher is a guest without manners: it makes whatever call its client asks for, and tells all that it learns.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

func main() {}

func init() { plugin.Serve(setup) }

func setup(p *plugin.Plugin) error {
	p.Handle("POST /fetch", fetch)
	p.Handle("POST /drain", drain)
	p.Handle("POST /pipe", pipe)
	p.Handle("POST /tell", tell)
	p.Handle("POST /trap", trap)
	return nil
}

// call is what a client asks for.
type call struct {
	Method, URL, Secret, Body string
	Header                    map[string]string
	Redirects                 int
	Stream                    bool // the body, as a stream
	SSE                       bool // of a pipe
}

// outcome is what became of it.
type outcome struct {
	Status int               `json:"status,omitempty"`
	URL    string            `json:"url,omitempty"`
	Header map[string]string `json:"header,omitempty"`
	Body   string            `json:"body,omitempty"`
	Size   int64             `json:"size,omitempty"`
	Code   string            `json:"code,omitempty"`
	Error  string            `json:"error,omitempty"`
}

func (o *outcome) failed(err error) {
	var f *plugin.FetchError
	if errors.As(err, &f) {
		o.Code = f.Code.String()
	}
	o.Error = err.Error()
}

func do(r *plugin.Request, window int) (*plugin.Reply, *call, error) {
	var c call
	if err := r.JSON(&c); err != nil {
		return nil, nil, err
	}
	out := &plugin.Call{Method: c.Method, URL: c.URL, Secret: c.Secret, Redirects: c.Redirects, Window: window}
	for name, value := range c.Header {
		out.Header.Add(name, value)
	}
	if c.Body != "" {
		out.Body = []byte(c.Body)
	}
	reply, err := plugin.Fetch(r.Context(), out)
	return reply, &c, err
}

// fetch answers with all of the reply, up to 64 KiB.
func fetch(w *plugin.Response, r *plugin.Request) error {
	var o outcome
	reply, _, err := do(r, 0)
	if err == nil {
		o.Status, o.URL, o.Header = reply.Status, reply.URL, map[string]string{}
		for name, value := range reply.Header.All() {
			o.Header[name] = value
		}
		var b []byte
		b, err = io.ReadAll(io.LimitReader(reply.Body, 64<<10))
		o.Body = string(b)
	}
	if err != nil {
		o.failed(err)
	}
	return w.JSON(200, o)
}

// drain reads the reply to its end, however long, and answers with its size.
func drain(w *plugin.Response, r *plugin.Request) error {
	var o outcome
	reply, _, err := do(r, 0)
	if err == nil {
		o.Status = reply.Status
		o.Size, err = io.Copy(io.Discard, reply.Body)
	}
	if err != nil {
		o.failed(err)
	}
	return w.JSON(200, o)
}

// pipe passes the reply on.
func pipe(w *plugin.Response, r *plugin.Request) error {
	reply, c, err := do(r, plugin.ForPipe)
	if err != nil {
		return err
	}
	return w.Pipe(reply, plugin.PipeOptions{SSE: c.SSE})
}

// tell says all that it learns in every place where a plugin can say something, and fails.
func tell(w *plugin.Response, r *plugin.Request) error {
	all := learn(r)
	r.Log().Debug(all, "all", all)
	r.Log().Error(all)
	fmt.Println(all)
	fmt.Fprintln(os.Stderr, all)
	w.Header().Set("x-all", all)
	return &plugin.Error{Status: 418, Detail: all, Err: errors.New(all)}
}

// trap dies with all that it learned on its lips.
func trap(_ *plugin.Response, r *plugin.Request) error {
	all := learn(r)
	fmt.Fprintln(os.Stderr, all)
	go panic(all)
	<-r.Context().Done()
	return nil
}

func learn(r *plugin.Request) string {
	reply, _, err := do(r, 0)
	if err != nil {
		return err.Error()
	}
	b, err := io.ReadAll(io.LimitReader(reply.Body, 1000))
	return fmt.Sprint(reply.Status, " ", reply.Header, " ", string(b), " ", err)
}
