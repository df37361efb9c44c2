package demo

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// errCut says that a test asked for a stream that breaks off.
var errCut = errors.New("the stream was cut as " + cutHeader + " asked")

type chatChunk struct {
	ID      string        `json:"id"`
	Object  string        `json:"object"`
	Created int64         `json:"created"`
	Model   string        `json:"model"`
	Choices []chunkChoice `json:"choices"`
	Usage   *usage        `json:"usage,omitempty"`
}

type chunkChoice struct {
	Index        int        `json:"index"`
	Delta        chunkDelta `json:"delta"`
	FinishReason *string    `json:"finish_reason"`
}

type chunkDelta struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

// stream sends an answer as server-sent events, a token each, and ends with the usage and [DONE].
func (s *Server) stream(x *exchange, c completion, withUsage bool) error {
	if err := x.gone(); err != nil {
		return err
	}
	h := x.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	h.Set("X-Content-Type-Options", "nosniff")

	empty := ""
	if err := x.choice(c, chunkChoice{Delta: chunkDelta{Role: "assistant", Content: &empty}}); err != nil {
		return err
	}
	first := s.opts.Now()
	for i, token := range c.tokens {
		if i == x.cut {
			return errCut
		}
		if i > 0 {
			if err := x.wait(s.opts.TokenGap); err != nil {
				return err
			}
		}
		if err := x.choice(c, chunkChoice{Delta: chunkDelta{Content: &token}}); err != nil {
			return err
		}
	}
	last := s.opts.Now()
	if err := x.choice(c, chunkChoice{FinishReason: &c.finish}); err != nil {
		return err
	}
	if withUsage {
		u := c.usage(len(c.tokens), x.begun, first, last)
		if err := x.chunk(c, chatChunk{Choices: []chunkChoice{}, Usage: &u}); err != nil {
			return err
		}
	}
	return x.event([]byte("[DONE]\n"))
}

func (x *exchange) choice(c completion, choice chunkChoice) error {
	return x.chunk(c, chatChunk{Choices: []chunkChoice{choice}})
}

func (x *exchange) chunk(c completion, chunk chatChunk) error {
	chunk.ID, chunk.Object, chunk.Created, chunk.Model = c.id, "chat.completion.chunk", c.created, chatModel
	var b bytes.Buffer
	if err := encode(&b, chunk); err != nil {
		return err
	}
	return x.event(b.Bytes())
}

// event writes one event whole and flushes it. Its data is one line, with its newline.
func (x *exchange) event(data []byte) error {
	if err := x.gone(); err != nil {
		return err
	}
	event := make([]byte, 0, len("data: ")+len(data)+1)
	event = append(event, "data: "...)
	event = append(event, data...)
	event = append(event, '\n')
	_ = x.control().SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := x.w.Write(event); err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	if err := x.control().Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return nil
}
