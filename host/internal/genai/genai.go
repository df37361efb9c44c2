// Package genai reads the figures of a chat out of the bytes that pass by: models, tokens, why the answer ended, and whether a piece
// of text is in them. The bytes are somebody else's; they are neither kept nor changed nor held up. It is no JSON
// parser: what is not the JSON of a chat, or is not JSON, has no figures, and that is no error.
//
// The shapes are OpenAI's: POST …/chat/completions, …/completions and …/embeddings, whole or as server-sent events.
package genai

import (
	"encoding/json"
	"net/http"
	"strings"
)

const (
	maxText    = 128 // bytes kept of a key or of a name
	maxReasons = 4   // told apart
)

// Operation is what a call asks of a model, in the words of OpenTelemetry's gen_ai.operation.name: chat, text_completion or
// embeddings; "" for any other call.
func Operation(method, path string) string {
	if method != http.MethodPost {
		return ""
	}
	switch {
	case strings.HasSuffix(path, "/chat/completions"):
		return "chat"
	case strings.HasSuffix(path, "/completions"):
		return "text_completion"
	case strings.HasSuffix(path, "/embeddings"):
		return "embeddings"
	}
	return ""
}

// Request reads the body of a request. The zero value is ready.
type Request struct{ scanner scanner }

// Write takes the next bytes of the body. It keeps none of them.
func (r *Request) Write(p []byte) {
	r.scanner.first = true
	r.scanner.write(p)
}

// Model is the model that is asked for, "" as long as it is not known.
func (r *Request) Model() string { return r.scanner.facts.model }

// Answer reads the body of an answer. Make it with NewAnswer.
type Answer struct {
	scanner scanner
	events  *events // nil: the body is one document
}

// NewAnswer makes a reader for a Content-Type; nil for one that no chat has.
func NewAnswer(contentType string) *Answer {
	kind, _, _ := strings.Cut(contentType, ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "application/json":
		return &Answer{}
	case "text/event-stream":
		return &Answer{events: &events{}}
	}
	return nil
}

// Write takes the next bytes of the body and keeps none of them. It says whether there has been a piece of text by now: of the answer, of
// what precedes it as reasoning, or of a call of a tool.
func (a *Answer) Write(p []byte) (text bool) {
	if a.events != nil {
		a.events.write(&a.scanner, p)
	} else {
		a.scanner.write(p)
	}
	return a.scanner.facts.text
}

// Streams says whether the answer comes as events.
func (a *Answer) Streams() bool { return a.events != nil }

// Model is the model that answered, "" when that is not told.
func (a *Answer) Model() string { return a.scanner.facts.model }

// Tokens is what the answer says was used; the last word counts, and 0 is none.
func (a *Answer) Tokens() (input, output int64) {
	return a.scanner.facts.input, a.scanner.facts.output
}

// FinishReasons are the reasons why the answer's choices ended, each once. The caller may keep them.
func (a *Answer) FinishReasons() []string { return a.scanner.facts.reasons }

// Failed says whether the answer holds an error, perhaps after a good beginning.
func (a *Answer) Failed() bool { return a.scanner.facts.failed }

// facts are what was read.
type facts struct {
	model         string
	input, output int64
	reasons       []string
	text, failed  bool
}

// name is a text of JSON as a short word that may be shown, "" when it is none: free text is no name.
func name(raw []byte) string {
	s := string(raw)
	if strings.Contains(s, `\`) {
		if json.Unmarshal([]byte(`"`+s+`"`), &s) != nil {
			return ""
		}
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("-_.:/@+", c) >= 0:
		default:
			return ""
		}
	}
	return s
}
