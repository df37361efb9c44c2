package demo

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// chatRequest is a chat completion request as the demo understands it.
type chatRequest struct {
	model     string
	messages  []message
	stream    bool
	usage     bool // send the usage chunk of a stream
	maxTokens int  // 0 is no limit
}

type message struct {
	role, text string
}

// chatBody is the request as it is sent. Sampling settings are accepted and change nothing.
type chatBody struct {
	Model               string        `json:"model"`
	Messages            []chatMessage `json:"messages"`
	Stream              bool          `json:"stream"`
	StreamOptions       *streamOption `json:"stream_options"`
	MaxTokens           *int          `json:"max_tokens"`
	MaxCompletionTokens *int          `json:"max_completion_tokens"`
	N                   *int          `json:"n"`
}

type chatMessage struct {
	Role    string      `json:"role"`
	Content chatContent `json:"content"`
}

type streamOption struct {
	IncludeUsage *bool `json:"include_usage"`
}

// chatContent is the text of a message: a string, null, or a list of parts of which those of type text count.
type chatContent string

// UnmarshalJSON implements json.Unmarshaler.
func (c *chatContent) UnmarshalJSON(raw []byte) error {
	if !bytes.HasPrefix(raw, []byte("[")) {
		return json.Unmarshal(raw, (*string)(c))
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal(raw, &parts); err != nil {
		return err
	}
	var text []string
	for _, p := range parts {
		if p.Type == "text" {
			text = append(text, p.Text)
		}
	}
	*c = chatContent(strings.Join(text, "\n"))
	return nil
}

// decodeChat checks everything about a request that does not depend on the server. Its errors are faults.
func decodeChat(raw []byte) (chatRequest, error) {
	var body chatBody
	if err := unmarshal(raw, &body); err != nil {
		return chatRequest{}, err
	}
	bad := func(format string, args ...any) (chatRequest, error) {
		return chatRequest{}, faultf(http.StatusBadRequest, format, args...)
	}
	if body.Model == "" {
		return bad("model: the field is missing")
	}
	if len(body.Messages) == 0 {
		return bad("messages: at least one is needed")
	}
	if body.N != nil && *body.N != 1 {
		return bad("n: the demo model makes one choice")
	}
	req := chatRequest{model: body.Model, stream: body.Stream, usage: true}
	for i, m := range body.Messages {
		if !oneOf(m.Role, "system", "developer", "user", "assistant", "tool", "function") {
			return bad("messages[%d]: role %q is unknown", i, m.Role)
		}
		req.messages = append(req.messages, message{m.Role, string(m.Content)})
	}
	for _, limit := range []*int{body.MaxTokens, body.MaxCompletionTokens} {
		if limit == nil {
			continue
		}
		if *limit < 1 {
			return bad("max_tokens must be at least 1, got %d", *limit)
		}
		req.maxTokens = *limit
	}
	if o := body.StreamOptions; o != nil && o.IncludeUsage != nil {
		req.usage = *o.IncludeUsage
	}
	return req, nil
}

// completion is an answer that is worked out and not yet sent.
type completion struct {
	id           string
	created      int64 // Unix time
	tokens       []string
	finish       string // stop, or length when max_tokens cut it
	promptTokens int
}

// usage counts tokens, with the times that GPUStack adds.
type usage struct {
	PromptTokens       int     `json:"prompt_tokens"`
	CompletionTokens   int     `json:"completion_tokens"`
	TotalTokens        int     `json:"total_tokens"`
	TimeToFirstTokenMs float64 `json:"time_to_first_token_ms"`
	TimePerOutputMs    float64 `json:"time_per_output_token_ms"`
	TokensPerSecond    float64 `json:"tokens_per_second"`
}

type chatAnswer struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"`
	Model   string       `json:"model"`
	Choices []chatChoice `json:"choices"`
	Usage   usage        `json:"usage"`
}

type chatChoice struct {
	Index        int        `json:"index"`
	Message      chatOutput `json:"message"`
	FinishReason string     `json:"finish_reason"`
}

type chatOutput struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

func (s *Server) chat(x *exchange) error {
	req, err := decodeChat(x.body)
	if err != nil {
		return err
	}
	switch req.model {
	case chatModel:
	case embedModel:
		return faultf(http.StatusBadRequest, "%s is no chat model; use %s", embedModel, chatModel)
	default:
		return faultf(http.StatusNotFound, "model not found; the demo has %s", chatModel)
	}
	c, err := s.complete(req)
	if err != nil {
		return err
	}
	if req.stream {
		return s.stream(x, c, req.usage)
	}
	first := s.opts.Now()
	if err := x.wait(s.opts.TokenGap * time.Duration(len(c.tokens)-1)); err != nil {
		return err
	}
	return x.reply(http.StatusOK, chatAnswer{
		ID: c.id, Object: "chat.completion", Created: c.created, Model: chatModel,
		Choices: []chatChoice{{Message: chatOutput{"assistant", strings.Join(c.tokens, "")}, FinishReason: c.finish}},
		Usage:   c.usage(len(c.tokens), x.begun, first, s.opts.Now()),
	})
}

// complete works out the answer to a request.
func (s *Server) complete(req chatRequest) (completion, error) {
	c := completion{id: s.newID("chatcmpl-demo"), created: s.opts.Now().Unix(), finish: "stop"}
	for _, m := range req.messages {
		c.promptTokens += countTokens(m.text) + 4 // the frame around a message
	}
	if c.promptTokens+max(req.maxTokens, 1) > contextWindow {
		return c, faultf(http.StatusBadRequest, "the prompt of %d tokens and %d tokens of answer are over the model's window of %d tokens",
			c.promptTokens, max(req.maxTokens, 1), contextWindow)
	}
	for t := range tokens(s.respond(req.messages)) {
		if req.maxTokens > 0 && len(c.tokens) == req.maxTokens {
			c.finish = "length"
			break
		}
		c.tokens = append(c.tokens, t)
	}
	return c, nil
}

// usage says what the answer took: n tokens, the first at first and the last at last.
func (c completion) usage(n int, begun, first, last time.Time) usage {
	u := usage{
		PromptTokens:       c.promptTokens,
		CompletionTokens:   n,
		TotalTokens:        c.promptTokens + n,
		TimeToFirstTokenMs: milliseconds(first.Sub(begun)),
	}
	if n > 1 {
		u.TimePerOutputMs = milliseconds(last.Sub(first)) / float64(n-1)
	}
	if u.TimePerOutputMs > 0 { // a clock may stand still
		u.TokensPerSecond = 1000 / u.TimePerOutputMs
	}
	return u
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
