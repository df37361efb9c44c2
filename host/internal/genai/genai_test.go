package genai_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/genai"
)

// seen is all that an Answer tells.
type seen struct {
	Model         string
	Input, Output int64
	Reasons       []string
	Text, Failed  bool
}

// read gives a body to a reader, in pieces of size bytes.
func read(kind, body string, size int) (s seen) {
	a := genai.NewAnswer(kind)
	if a == nil {
		return s
	}
	for len(body) > 0 {
		n := min(size, len(body))
		s.Text = a.Write([]byte(body[:n]))
		body = body[n:]
	}
	s.Model, s.Reasons, s.Failed = a.Model(), a.FinishReasons(), a.Failed()
	s.Input, s.Output = a.Tokens()
	return s
}

const (
	document = "application/json"
	events   = "text/event-stream"
)

func TestAnswer(t *testing.T) {
	long := strings.Repeat("x", 129)
	for name, c := range map[string]struct {
		kind, body string
		want       seen
	}{
		"a chat": {document + "; charset=utf-8", `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"qwen3","choices":[{"index":0,"message":{"role":"assistant","content":"say \"model\": \\","tool_calls":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":11,"total_tokens":18,"completion_tokens":7,"prompt_tokens_details":{"cached_tokens":3,"prompt_tokens":999}}}`,
			seen{"qwen3", 11, 7, []string{"stop"}, true, false}},
		"embeddings":                    {document, `{"object":"list","data":[{"embedding":[0.1,-2e3],"model":"no"}],"model":"bge-m3","usage":{"prompt_tokens":5,"total_tokens":5}}`, seen{Model: "bge-m3", Input: 5}},
		"a text completion":             {document, `{"choices":[{"text":"a","finish_reason":"length"},{"text":"b","finish_reason":"length"},{"text":"","finish_reason":"stop"}]}`, seen{Reasons: []string{"length", "stop"}, Text: true}},
		"the words in other places":     {document, `{"choices":{"a":{"model":"no"}},"x":{"model":"no","usage":{"prompt_tokens":1},"error":{}},"y":[{"content":"no"}],"usage":[{"prompt_tokens":2}]}`, seen{Input: 2}},
		"an error":                      {document, `{"error":{"message":"model qwen3: no"}}`, seen{Failed: true}},
		"an error that is text":         {document, `{"error":"no"}`, seen{Failed: true}},
		"no error":                      {document, `{"error":null,"model":"m"}`, seen{Model: "m"}},
		"an escaped name":               {document, `{"model":"Qwen\/Qwen2.5-\u0037B"}`, seen{Model: "Qwen/Qwen2.5-7B"}},
		"free text is no name":          {document, `{"model":"tell me a secret","choices":[{"finish_reason":"since you ask"}]}`, seen{}},
		"a name that is too long":       {document, `{"model":"` + long + `"}`, seen{}},
		"a key that is too long":        {document, `{"` + long + `":1,"model":"m"}`, seen{Model: "m"}},
		"numbers that make no sense":    {document, `{"usage":{"prompt_tokens":-1,"completion_tokens":1e3,"input_tokens":99999999999999999999}}`, seen{}},
		"the wrong types":               {document, `{"model":{"model":"no"},"usage":7,"choices":"no","error":false}`, seen{}},
		"a list":                        {document, `[{"model":"no"}]`, seen{}},
		"text":                          {document, `"{\"model\":\"no\"}"`, seen{}},
		"quotes in a long text":         {document, `{"x":"` + strings.Repeat(long[:100]+`\"`, 3) + long + `","model":"m"}`, seen{Model: "m"}},
		"nothing":                       {document, "", seen{}},
		"no JSON":                       {document, `<html>"model":"no"</html>`, seen{}},
		"cut":                           {document, `{"model":"qwen3","choices":[{"message":{"content":"o`, seen{Model: "qwen3"}},
		"what follows the document":     {document, `{"model":"m"}{"model":"no"}`, seen{Model: "m"}},
		"too deep":                      {document, strings.Repeat(`{"choices":`, 40) + `1` + strings.Repeat("}", 40), seen{}},
		"another type":                  {"text/plain", `{"model":"no"}`, seen{}},
		"a type that cannot be read":    {";", `{"model":"no"}`, seen{}},
		"events":                        {events, "data: {\"model\":\"qwen3\",\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"o\"}}]}\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n", seen{"qwen3", 3, 2, []string{"stop"}, true, false}},
		"no text yet":                   {events, "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[]}}]}\n\n", seen{Model: "m"}},
		"reasoning is text":             {events, `data: {"choices":[{"delta":{"reasoning_content":"hm"}}]}`, seen{Text: true}},
		"a tool's call is text":         {events, `data: {"choices":[{"delta":{"content":null,"tool_calls":[{"index":0}]}}]}`, seen{Text: true}},
		"an error after the beginning":  {events, "data: {\"model\":\"m\"}\n\nevent: error\ndata: {\"error\":{\"message\":\"x\"}}\n\n", seen{Model: "m", Failed: true}},
		"an event of two lines":         {events, "data: {\"usage\":\r\ndata: {\"prompt_tokens\":4}}\r\n\r\ndata:{\"model\":\"m\"}\r\n\r\n", seen{Model: "m", Input: 4}},
		"lines that end with CR":        {events, "data: {\"model\":\"a\"}\r\rdata: {\"model\":\"b\"}\r\r", seen{Model: "b"}},
		"comments and other fields":     {events, ": {\"model\":\"no\"}\nid: {\"model\":\"no\"}\ndat: {\"model\":\"no\"}\ndata\ndatum: {\"model\":\"no\"}\n\ndata: {\"model\":\"m\"}\n\n", seen{Model: "m"}},
		"an event that is cut":          {events, "data: {\"model\":\"m\n\ndata: {\"model\":\"n\"}\n\n", seen{Model: "n"}},
		"usage that grows":              {events, "data: {\"usage\":{\"completion_tokens\":1}}\n\ndata: {\"usage\":{\"completion_tokens\":2}}\n\ndata: {\"usage\":null}\n\n", seen{Output: 2}},
		"more reasons than are counted": {document, `{"choices":[{"finish_reason":"a"},{"finish_reason":"b"},{"finish_reason":"c"},{"finish_reason":"d"},{"finish_reason":"e"}]}`, seen{Reasons: []string{"a", "b", "c", "d"}}},
	} {
		for _, size := range []int{1 << 20, 1, 2, 3, 7, 64} {
			if got := read(c.kind, c.body, size); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s, in pieces of %d: %+v, want %+v", name, size, got, c.want)
			}
		}
	}
}

func TestRequest(t *testing.T) {
	for body, want := range map[string]string{
		`{"messages":[{"role":"user","content":"{\"model\":\"no\"}","model":"no"}],"model":"qwen3","stream":true}`: "qwen3",
		`{"model":"a","x":1,"model":"b"}`: "a",
		`{"model":"give me\nall"}`:        "",
		`{"model":7}`:                     "",
		`model=qwen3`:                     "",
		``:                                "",
	} {
		for _, size := range []int{1 << 20, 1, 5} {
			var r genai.Request
			for rest := body; rest != ""; {
				n := min(size, len(rest))
				r.Write([]byte(rest[:n]))
				rest = rest[n:]
			}
			if got := r.Model(); got != want {
				t.Errorf("%s: %q, want %q", body, got, want)
			}
		}
	}
}

func TestOperation(t *testing.T) {
	for call, want := range map[string]string{
		"POST /v1/chat/completions": "chat", "POST /v1/completions": "text_completion", "POST /x/v1-openai/embeddings": "embeddings",
		"GET /v1/chat/completions": "", "POST /v1/models": "", "POST /": "",
	} {
		method, path, _ := strings.Cut(call, " ")
		if got := genai.Operation(method, path); got != want {
			t.Errorf("%s: %q, want %q", call, got, want)
		}
	}
}

// Whatever the bytes are and however they are cut, the same is read of them, and it is no free text.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{
		`{"model":"qwen3","choices":[{"message":{"content":"a\\\"b"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}`,
		"data: {\"choices\":[{\"delta\":{\"content\":\"o\"}}]}\n\ndata: [DONE]\n\n", "data:{}\r\n\r\ndata: {\"error\":1}\r\r", `{"a":[[{"b":{}}]],"model":"\u0041"}`,
	} {
		f.Add(body, 3, true)
		f.Add(body, 1, false)
	}
	f.Fuzz(func(t *testing.T, body string, size int, sse bool) {
		kind := map[bool]string{true: events, false: document}[sse]
		whole, cut := read(kind, body, len(body)+1), read(kind, body, max(size, 1))
		if !reflect.DeepEqual(whole, cut) {
			t.Errorf("whole %+v, in pieces of %d %+v", whole, size, cut)
		}
		for _, word := range append(whole.Reasons, whole.Model) {
			if len(word) > 128 || strings.ContainsAny(word, " \t\n\"'<>{}") {
				t.Errorf("%q is no name", word)
			}
		}
		if whole.Input < 0 || whole.Output < 0 || len(whole.Reasons) > 4 {
			t.Errorf("%+v", whole)
		}
	})
}

// BenchmarkAnswer reads 64 KiB: what is measured is the price of reading a chat as it passes by. Its peer decodes each event with
// encoding/json, when it has found where one ends.
func BenchmarkAnswer(b *testing.B) {
	var stream, escapes strings.Builder
	for stream.Len() < 64<<10 {
		fmt.Fprintf(&stream, "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"qwen3\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word \"},\"finish_reason\":null}]}\n\n")
		escapes.WriteString(`line\n\"and\" so on `)
	}
	for _, c := range []struct{ name, kind, body string }{
		{"events", events, stream.String()},
		{"document", document, `{"model":"m","choices":[{"message":{"content":"` + strings.Repeat("word ", 13<<10) + `"}}]}`},
		{"escapes", document, `{"model":"m","choices":[{"message":{"content":"` + escapes.String() + `"}}]}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			body := []byte(c.body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				a := genai.NewAnswer(c.kind)
				for at := 0; at < len(body); at += 4 << 10 {
					a.Write(body[at:min(at+4<<10, len(body))])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(body))*1024, "ns/KiB")
		})
	}
	b.Run("events by encoding/json", func(b *testing.B) {
		body := []byte(stream.String())
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			for event := range bytes.SplitSeq(body, []byte("\n\n")) {
				var chunk struct {
					Model   string
					Choices []struct {
						Delta        struct{ Content string }
						FinishReason *string `json:"finish_reason"`
					}
					Usage *struct {
						PromptTokens     int `json:"prompt_tokens"`
						CompletionTokens int `json:"completion_tokens"`
					}
				}
				if data, ok := bytes.CutPrefix(event, []byte("data: ")); ok {
					if err := json.Unmarshal(data, &chunk); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(body))*1024, "ns/KiB")
	})
}
