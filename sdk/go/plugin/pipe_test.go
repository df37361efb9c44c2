package plugin_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
	"github.com/patchbay-run/patchbay/sdk/go/plugin"
	"github.com/patchbay-run/patchbay/sdk/go/plugin/plugintest"
)

// stream is an upstream that sends one piece after the other, flushed; then it ends, hangs, or breaks off.
func stream(pieces []string, end string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		for _, p := range pieces {
			io.WriteString(w, p)
			w.(http.Flusher).Flush()
		}
		switch end {
		case "hang":
			<-r.Context().Done()
		case "cut":
			panic(http.ErrAbortHandler)
		}
	})
}

// piping is a plugin that pipes an upstream, and where Pipe's error goes.
func piping(t testing.TB, up http.Handler, o plugin.PipeOptions) (*plugintest.Host, chan error) {
	result := make(chan error, 1)
	return one(t, func(w *plugin.Response, r *plugin.Request) error {
		reply, err := plugin.Fetch(r.Context(), &plugin.Call{URL: base + "/", Window: plugin.ForPipe})
		if err != nil {
			return err
		}
		w.Header().Set("x-head", "set")
		w.WriteHeader(203)
		if r.RawQuery == "first" {
			w.WriteString("first ")
		}
		err = w.Pipe(reply, o)
		result <- err
		return err
	}, plugintest.Upstream(base, up)), result
}

func TestPipeRaw(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 40<<10)
	for _, pieces := range [][]string{{}, {"a"}, {"a", "bc", "def"}, {big, big}} {
		h, result := piping(t, stream(pieces, ""), plugin.PipeOptions{})
		for _, query := range []string{"", "first"} {
			whole := strings.Join(pieces, "")
			if query != "" {
				whole = "first " + whole
			}
			a := h.Do("GET", "/?"+query, nil)
			if a.Status != 203 || a.Err != nil || a.Header.Get("x-head") != "set" || string(a.Body) != whole {
				t.Errorf("%d %v %v: %s", a.Status, a.Err, a.Header, clip(a.Body))
			}
			if err := <-result; err != nil {
				t.Error(err)
			}
		}
	}
}

func TestPipeSSE(t *testing.T) {
	up := stream([]string{"da", "ta: {\"a\":\"ö", "😀\"}\n", "\n: beat\nevent: x\r\nid: 7\r\ndata: b\ndata: c\n\n", "other: d\n\ndata: [DONE]\n\n", "data: late\n\n"}, "hang")
	h, result := piping(t, up, plugin.PipeOptions{SSE: true})
	s := h.Stream("GET", "/", nil)
	for _, event := range []string{
		"data: {\"a\":\"\\u00f6\\ud83d\\ude00\"}\n\n", ": beat\n\n", "event: x\nid: 7\ndata: b\ndata: c\n\n", "data: [DONE]\n\n",
	} {
		if b, err := s.Next(); string(b) != event || err != nil {
			t.Errorf("%q %v, want %q", b, err, event)
		}
	}
	if _, err := s.Next(); err != io.EOF {
		t.Error(err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestPipeWatch(t *testing.T) {
	big := strings.Repeat("y", 150<<10)
	up := stream([]string{"data: {\"n\":1}\n\n", "data: usage 1\n\n", "data: usage " + big + "\n\n", "data: usage 2\n\ndata: [DONE]\n\n"}, "")
	for _, c := range []struct {
		match string
		want  string
	}{{"usage", "usage 1usage " + big + "usage 2"}, {"", "{\"n\":1}usage 1usage " + big + "usage 2[DONE]"}, {"none", ""}} {
		var seen bytes.Buffer
		h, result := piping(t, up, plugin.PipeOptions{SSE: true, Match: c.match, Watch: func(b []byte) { seen.Write(b) }})
		a := h.Do("GET", "/", nil)
		if err := <-result; err != nil || a.Status != 203 || !strings.HasSuffix(string(a.Body), "data: [DONE]\n\n") {
			t.Error(err, a.Status, clip(a.Body))
		}
		if seen.String() != c.want {
			t.Errorf("match %q: saw %s", c.match, clip(seen.Bytes()))
		}
	}
}

// Before the first byte a failure leaves the answer to the handler; after it, the host ends the answer.
func TestPipeFails(t *testing.T) {
	for _, c := range []struct {
		name    string
		up      http.Handler
		options plugin.PipeOptions
		header  []string
		want    plugin.PipeError
		status  int
		body    string
		aborted bool
	}{
		{name: "error event", up: stream([]string{"data: {\"error\":{\"message\":\"full\"}}\n\n"}, ""), options: plugin.PipeOptions{SSE: true},
			want: plugin.PipeError{Code: abi.Reset, Text: `{"error":{"message":"full"}}`}, status: 502, body: `{"detail":"The upstream broke off its answer."}`},
		{name: "cut before", up: stream(nil, "cut"), options: plugin.PipeOptions{SSE: true},
			want: plugin.PipeError{Code: abi.Reset, Text: "the upstream broke off its answer"}, status: 502, body: `{"detail":"The upstream broke off its answer."}`},
		{name: "idle before", up: stream(nil, "hang"), options: plugin.PipeOptions{Idle: 20 * time.Millisecond},
			want: plugin.PipeError{Code: abi.Timeout, Text: "the upstream sent nothing for too long"}, status: 504, body: `{"detail":"The upstream did not answer in time."}`},
		{name: "cut later", up: stream([]string{"data: a\n\n"}, "cut"), options: plugin.PipeOptions{SSE: true},
			want: plugin.PipeError{Sent: true, Code: abi.Reset, Text: "the upstream broke off its answer"}, status: 203, body: "data: a\n\n", aborted: true},
		{name: "cut later, events", up: stream([]string{"data: a\n\n"}, "cut"), options: plugin.PipeOptions{SSE: true}, header: []string{"X-Stream-Events", "1"},
			want: plugin.PipeError{Sent: true, Code: abi.Reset, Text: "the upstream broke off its answer"}, status: 203,
			body: "data: a\n\ndata: {\"error\":{\"message\":\"the upstream broke off its answer\"}}\n\n"},
		{name: "idle later", up: stream([]string{"a"}, "hang"), options: plugin.PipeOptions{Idle: 50 * time.Millisecond},
			want: plugin.PipeError{Sent: true, Code: abi.Timeout, Text: "the upstream sent nothing for too long"}, status: 203, body: "a", aborted: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var a *plugintest.Answer
			var err *plugin.PipeError
			for { // a machine that hesitates may be idle before the first byte: it is given more time
				h, result := piping(t, c.up, c.options)
				a, err = h.Do("GET", "/", nil, c.header...), nil
				if !errors.As(<-result, &err) || err.Sent || !c.want.Sent || c.options.Idle == 0 || c.options.Idle > time.Minute {
					break
				}
				c.options.Idle *= 10
			}
			if err == nil || *err != c.want {
				t.Errorf("%+v, want %+v", err, c.want)
			}
			if a.Status != c.status || string(a.Body) != c.body || (a.Err != nil) != c.aborted {
				t.Errorf("%d %q %v", a.Status, a.Body, a.Err)
			}
			if !c.want.Sent && a.Header.Has("x-head") {
				t.Error("the head of the failed pipe stayed:", a.Header)
			}
		})
	}
}

func TestPipeCancel(t *testing.T) {
	h, result := piping(t, stream([]string{"a"}, "hang"), plugin.PipeOptions{})
	s := h.Stream("GET", "/", nil)
	if b, err := s.Next(); string(b) != "a" || err != nil {
		t.Fatal(string(b), err)
	}
	s.Cancel()
	var err *plugin.PipeError
	if !errors.As(<-result, &err) || !err.Sent || !errors.Is(err, plugin.ErrCancelled) {
		t.Error(err)
	}
}

func TestPipeMisuse(t *testing.T) {
	var first *plugin.Reply
	h := one(t, func(w *plugin.Response, r *plugin.Request) error {
		call := &plugin.Call{URL: base + "/"}
		if r.RawQuery != "" {
			call.Window = plugin.ForPipe
		}
		reply, err := plugin.Fetch(r.Context(), call)
		if err != nil {
			return err
		}
		switch r.RawQuery {
		case "read":
			if _, err := reply.Body.Read(make([]byte, 1)); err != nil {
				return err
			}
		case "other":
			reply = first
		}
		first = reply
		var fail *plugin.PipeError
		if err := w.Pipe(reply, plugin.PipeOptions{}); !errors.As(err, &fail) || fail.Sent {
			return fmt.Errorf("not refused: %w", err)
		}
		_, err = w.WriteString(fail.Text)
		return err
	}, plugintest.Upstream(base, stream([]string{"ab"}, "")))
	want(t, h.Do("GET", "/", nil), 200, "its body is being read: fetch with Window: plugin.ForPipe")
	want(t, h.Do("GET", "/?read", nil), 200, "its body is being read: fetch with Window: plugin.ForPipe")
	want(t, h.Do("GET", "/?other", nil), 200, "the reply is not of a Fetch within this request")
}
