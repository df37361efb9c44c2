package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

const (
	// maxWhole is the largest request, in bytes, that is held in memory, checked, and can be sent again on a fresh connection.
	// A larger one, with pictures in it, passes through as it arrives.
	maxWhole = 1 << 20
	// maxAnswer is the largest answer, in bytes, that is not a stream: the host's default for one.
	maxAnswer = 8 << 20
)

// service hands chats to one address.
type service struct {
	url    string
	secret string
}

// infer is POST /api/inference/infer: the answer in one piece.
func (s *service) infer(w *plugin.Response, r *plugin.Request) error {
	// A stream could not be handed back as one document. Its options are an error in a request for none.
	reply, err := s.send(r, &rewriter{replace: map[string]string{"stream": "false", "stream_options": "null"}}, "application/json", 0)
	if err != nil {
		return err
	}
	if reply.Status/100 != 2 {
		return refuse(w, r, refused(reply))
	}
	b, err := reply.Bytes(maxAnswer)
	if err != nil {
		return err
	}
	if !json.Valid(b) {
		return fmt.Errorf("%w: it is no JSON", plugin.ErrReply)
	}
	if e := failureIn(b); e != nil {
		return refuse(w, r, e)
	}
	passMarks(w, reply)
	w.Header().Set("content-type", "application/json")
	w.WriteHeader(reply.Status)
	_, err = w.Write(b)
	return err
}

// stream is POST /api/inference/stream: the answer as server-sent events. Until the first of them is out, every failure has its status.
func (s *service) stream(w *plugin.Response, r *plugin.Request) error {
	reply, err := s.send(r, &rewriter{replace: map[string]string{"stream": "true"}, need: "stream"}, "text/event-stream", plugin.ForPipe)
	if err != nil {
		return err
	}
	if reply.Status/100 != 2 {
		return refuse(w, r, refused(reply))
	}
	kind := strings.ToLower(reply.Header.Get("content-type"))
	switch {
	case strings.Contains(kind, "json"):
		return s.convert(w, r, reply)
	case kind != "" && !strings.HasPrefix(kind, "text/event-stream"):
		return fmt.Errorf("%w: its content type is %.80q", plugin.ErrReply, kind)
	case reply.Header.Get("content-length") == "0":
		return fmt.Errorf("%w: it is empty", plugin.ErrReply)
	}
	head(w, reply)
	err = w.Pipe(reply, plugin.PipeOptions{SSE: true})
	var failed *plugin.PipeError
	if errors.As(err, &failed) && !failed.Sent {
		if e := failureIn([]byte(failed.Text)); e != nil {
			return refuse(w, r, e)
		}
	}
	return err
}

// send makes the call with the request's body, edited by edit on its way.
func (s *service) send(r *plugin.Request, edit *rewriter, accept string, window int) (*plugin.Reply, error) {
	call := &plugin.Call{Method: "POST", URL: s.url, Secret: s.secret, Window: window}
	call.Header.Set("content-type", "application/json")
	call.Header.Set("accept", accept)
	start, err := io.ReadAll(io.LimitReader(r.Body, maxWhole+1))
	if err != nil {
		return nil, err
	}
	if len(start) > maxWhole {
		edit.src = io.MultiReader(bytes.NewReader(start), r.Body)
		call.Stream = edit
		return fetch(r.Context(), call)
	}
	if len(start) > 0 && !json.Valid(start) {
		return nil, plugin.Errorf(422, "The request's body is not valid JSON.")
	}
	if call.Body, err = edit.whole(start); err != nil {
		return nil, err
	}
	return fetch(r.Context(), call)
}

// fetch is plugin.Fetch, whose error for a Stream that cannot be read holds the reader's own error: that is the client's fault, with its status.
func fetch(ctx context.Context, call *plugin.Call) (*plugin.Reply, error) {
	reply, err := plugin.Fetch(ctx, call)
	var e *plugin.Error
	if errors.As(err, &e) {
		return nil, e
	}
	return reply, err
}

// head is the head of an event stream. No proxy on the way may keep or collect it.
func head(w *plugin.Response, reply *plugin.Reply) {
	passMarks(w, reply)
	w.Header().Set("content-type", "text/event-stream; charset=utf-8")
	w.Header().Set("cache-control", "no-cache")
	w.Header().Set("x-accel-buffering", "no")
}

// passMarks passes on that an answer came from the host's built-in demo.
func passMarks(w *plugin.Response, reply *plugin.Reply) {
	const demoHeader = "x-patchbay-demo"
	if v := reply.Header.Get(demoHeader); v != "" {
		w.Header().Set(demoHeader, v)
	}
}
