package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// body is a document as the body of a reply.
func body(document []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(document)) }

// completion is what is needed of a whole answer to make a chunk of it.
type completion struct {
	ID      json.RawMessage `json:"id,omitempty"`
	Object  string          `json:"object"`
	Created json.RawMessage `json:"created,omitempty"`
	Model   json.RawMessage `json:"model,omitempty"`
	Choices []choice        `json:"choices"`
	Usage   json.RawMessage `json:"usage,omitempty"`
}

type choice struct {
	Index        json.RawMessage `json:"index,omitempty"`
	Message      json.RawMessage `json:"message,omitempty"`
	Delta        json.RawMessage `json:"delta,omitempty"`
	FinishReason json.RawMessage `json:"finish_reason,omitempty"`
}

// convert makes an event stream of an upstream's whole answer: some servers cannot stream, and say so by not doing it.
func (s *service) convert(w *plugin.Response, r *plugin.Request, reply *plugin.Reply) error {
	b, err := reply.Bytes(maxAnswer)
	if err != nil {
		return err
	}
	if e := failureIn(b); e != nil {
		return refuse(w, r, e)
	}
	var c completion
	if err := json.Unmarshal(b, &c); err != nil || len(c.Choices) == 0 {
		return fmt.Errorf("%w: neither an event stream nor a chat completion", plugin.ErrReply)
	}
	c.Object = "chat.completion.chunk"
	for i := range c.Choices {
		one := &c.Choices[i]
		one.Delta, one.Message = one.Message, nil
	}
	event, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("%w: %w", plugin.ErrReply, err)
	}
	head(w, reply)
	for _, data := range [][]byte{ascii(event), []byte("[DONE]")} {
		if _, err := fmt.Fprintf(w, "data: %s\n\n", data); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// ascii is JSON with its characters beyond ASCII as escapes: a client may cut a stream anywhere and decode the pieces apart.
func ascii(text []byte) []byte {
	b := make([]byte, 0, len(text)+len(text)/8)
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		text = text[size:]
		switch {
		case r < utf8.RuneSelf:
			b = append(b, byte(r))
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, hi, lo)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return b
}
