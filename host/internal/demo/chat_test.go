package demo_test

import (
	"strings"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/demo"
)

type chatAnswer struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	Model   string `json:"model"`
	Choices []struct {
		Message      message `json:"message"`
		FinishReason string  `json:"finish_reason"`
	} `json:"choices"`
	Usage usage `json:"usage"`
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type usage struct {
	Prompt     int      `json:"prompt_tokens"`
	Completion int      `json:"completion_tokens"`
	Total      int      `json:"total_tokens"`
	First      *float64 `json:"time_to_first_token_ms"`
	PerToken   *float64 `json:"time_per_output_token_ms"`
	PerSecond  *float64 `json:"tokens_per_second"`
}

const notice = "This is Patchbay's demo model;"

// ask sends a chat that is not streamed and returns the answer's text.
func (u *upstream) ask(messages ...message) string {
	u.t.Helper()
	var got chatAnswer
	u.post("/v1/chat/completions", object{"model": "demo-chat", "messages": messages}, &got)
	return got.Choices[0].Message.Content
}

func TestChatAnswersFromTheCorpus(t *testing.T) {
	u := start(t, demo.Options{})
	var got chatAnswer
	u.post("/v1-openai/chat/completions", object{"model": "demo-chat", "messages": []message{{"user", "What is wazero?"}}}, &got)
	if got.Object != "chat.completion" || got.Model != "demo-chat" || !strings.HasPrefix(got.ID, "chatcmpl-") || got.Created == 0 {
		t.Errorf("envelope: %+v", got)
	}
	c := got.Choices[0]
	if c.Message.Role != "assistant" || c.FinishReason != "stop" || !strings.HasPrefix(c.Message.Content, notice) {
		t.Errorf("choice: %+v", c)
	}
	for _, part := range []string{
		"wazero is a WebAssembly runtime written in Go without cgo and without dependencies. [1]",
		"\n\nSources:\n[1] wazero: a WebAssembly runtime in pure Go - https://demo.patchbay.invalid/webassembly/wazero",
	} {
		if !strings.Contains(c.Message.Content, part) {
			t.Errorf("no %q in:\n%s", part, c.Message.Content)
		}
	}
	if n := strings.Count(c.Message.Content, " [1]"); n < 3 {
		t.Errorf("%d sentences, want at least 3:\n%s", n, c.Message.Content)
	}
	n := got.Usage
	if n.Prompt < 5 || n.Completion < 40 || n.Total != n.Prompt+n.Completion || n.First == nil || n.PerToken == nil || n.PerSecond == nil {
		t.Errorf("usage: %+v", n)
	}
}

func TestChatFindsNothing(t *testing.T) {
	u := start(t, demo.Options{})
	for _, question := range []string{"xyzzy plugh", "hello", ""} {
		got := u.ask(message{"user", question})
		if !strings.HasPrefix(got, notice) || !strings.Contains(got, "found nothing") || strings.Contains(got, "Sources:") {
			t.Errorf("%q: %s", question, got)
		}
	}
}

// The forms in which clients put sources into a prompt. Each holds the same two sources, of which the second answers.
func TestChatAnswersFromThePromptsSources(t *testing.T) {
	const one = "Apples are the fruit of a tree of the rose family. They keep for months in a cool cellar."
	const two = "The Zorble is a bird that nests on Malmö's roofs.\n[7] A footnote - https://foot.example/\nThe Zorble pays a rent of $3.50 there."
	u := start(t, demo.Options{})
	prompts := map[string][]message{
		"label before": {{"system", "You answer from sources."}, {"user",
			"Question: Where does the Zorble nest?\n\nSources:\n\n[1] Apples - https://a.example/apples\n" + one + "\n\n[2] Zorbles - https://b.example/z?a=1\n" + two}},
		"label after": {{"user",
			"[1] Apples - https://a.example/apples\n" + one + "\n[2] Zorbles - https://b.example/z?a=1\n" + two + "\n\nQuestion:\nWhere does the Zorble nest?"}},
		"quoted": {{"user",
			"Summarise the results for \"where does the zorble nest\" and cite them.\n[1] Apples (https://a.example/apples)\n" + one + "\n\n[2] Zorbles (https://b.example/z?a=1)\n" + two}},
		"own lines": {{"user",
			"Where does the Zorble nest?\n[1] Apples\nURL: https://a.example/apples\nContent: " + one + "\n\n[2] Zorbles\nURL: https://b.example/z?a=1\nContent: " + two}},
		"in the system message": {
			{"system", "Sources:\n[1] Apples - https://a.example/apples\n" + one + "\n[2] Zorbles - https://b.example/z?a=1\n" + two},
			{"user", "And apples?"}, {"assistant", "Yes.\n\nSources:\n[1] Wrong - https://wrong.example\nThe Zorble is wrong."}, {"user", "Where does the Zorble nest?"}},
	}
	for name, messages := range prompts {
		t.Run(name, func(t *testing.T) {
			got := (&upstream{Server: u.Server, t: t, base: u.base, client: u.client}).ask(messages...)
			if !strings.HasPrefix(got, notice) || !strings.Contains(got, "The Zorble is a bird that nests on Malmö's roofs. [2]") {
				t.Errorf("wrong answer:\n%s", got)
			}
			if !strings.HasSuffix(got, "\n\nSources:\n[2] Zorbles - https://b.example/z?a=1") {
				t.Errorf("want a list of the one cited source at the end:\n%s", got)
			}
		})
	}
}

func TestChatCitesAllItUses(t *testing.T) {
	u := start(t, demo.Options{})
	got := u.ask(message{"user", "Query: unmatched words only\n[1] First - https://a.example/\nSome sentence that has nothing to do with it.\n[2] Second\nAnother sentence that has nothing to do with it."})
	want := "\n\nSome sentence that has nothing to do with it. [1] Another sentence that has nothing to do with it. [2]\n\nSources:\n[1] First - https://a.example/\n[2] Second"
	if !strings.HasSuffix(got, want) {
		t.Errorf("got:\n%s\nwant at its end:\n%s", got, want)
	}
}

// What a sender cut off in the middle is not quoted.
func TestChatLeavesFragmentsOut(t *testing.T) {
	u := start(t, demo.Options{})
	got := u.ask(message{"user", "Query: zorble\n[1] Birds - https://b.example/\nThe Zorble is a bird of the north. When the Zorble flies it is...[content truncated]"})
	if !strings.Contains(got, "\n\nThe Zorble is a bird of the north. [1]\n\nSources:") {
		t.Errorf("got:\n%s", got)
	}
}

func TestChatMaxTokens(t *testing.T) {
	u := start(t, demo.Options{})
	for _, field := range []string{"max_tokens", "max_completion_tokens"} {
		var got chatAnswer
		u.post("/v1/chat/completions", object{"model": "demo-chat", field: 5, "messages": []message{{"user", "wazero"}}}, &got)
		if c := got.Choices[0]; c.FinishReason != "length" || got.Usage.Completion != 5 || !strings.HasPrefix(notice, c.Message.Content) || c.Message.Content == "" {
			t.Errorf("%s: %+v", field, got)
		}
	}
}

// Content may be text, null or parts.
func TestChatContentForms(t *testing.T) {
	u := start(t, demo.Options{})
	for _, content := range []string{
		`"what is wazero"`,
		`[{"type":"text","text":"what is wazero"},{"type":"image_url","image_url":{"url":"data:"}}]`,
	} {
		r := u.do("POST", "/v1/chat/completions", `{"model":"demo-chat","temperature":0.2,"messages":[{"role":"assistant","content":null},{"role":"user","content":`+content+`}]}`)
		if r.status != 200 || !strings.Contains(r.body, "webassembly/wazero") {
			t.Errorf("%s: %d %s", content, r.status, r.body)
		}
	}
}

func TestChatErrors(t *testing.T) {
	u := start(t, demo.Options{MaxBody: 1 << 20})
	const ok = `"messages":[{"role":"user","content":"x"}]`
	cases := []struct {
		name, body string
		status     int
		kind, text string
	}{
		{"no body", ``, 400, "BadRequest", "the request body is not valid JSON"},
		{"no JSON", `{"model":`, 400, "BadRequest", "the request body is not valid JSON"},
		{"no object", `"hello"`, 400, "BadRequest", "the request body must be a JSON object"},
		{"no model", `{` + ok + `}`, 400, "BadRequest", "model: the field is missing"},
		{"no messages", `{"model":"demo-chat"}`, 400, "BadRequest", "messages: at least one is needed"},
		{"messages no array", `{"model":"demo-chat","messages":"x"}`, 400, "BadRequest", "messages: string is not valid here"},
		{"no role", `{"model":"demo-chat","messages":[{"content":"x"}]}`, 400, "BadRequest", `messages[0]: role \"\" is unknown`},
		{"content a number", `{"model":"demo-chat","messages":[{"role":"user","content":3}]}`, 400, "BadRequest", "is not valid here"},
		{"no token", `{"model":"demo-chat","max_tokens":0,` + ok + `}`, 400, "BadRequest", "max_tokens must be at least 1, got 0"},
		{"two choices", `{"model":"demo-chat","n":2,` + ok + `}`, 400, "BadRequest", "n: the demo model makes one choice"},
		{"over the window", `{"model":"demo-chat","max_tokens":32768,` + ok + `}`, 400, "BadRequest", "over the model's window of 32768 tokens"},
		{"embedding model", `{"model":"demo-embedding",` + ok + `}`, 400, "BadRequest", "demo-embedding is no chat model; use demo-chat"},
		{"unknown model", `{"model":"gpt-9","stream":true,` + ok + `}`, 404, "NotFound", "model not found; the demo has demo-chat"},
		{"large body", strings.Repeat(" ", 2<<20), 413, "RequestEntityTooLarge", "the request body is over 1048576 bytes"},
	}
	for _, c := range cases {
		r := u.do("POST", "/v1/chat/completions", c.body)
		checkGPUStackError(t, c.name, r, c.status, c.kind, c.text)
	}
}

func checkGPUStackError(t *testing.T, name string, r reply, status int, kind, text string) {
	t.Helper()
	ok := r.status == status && r.header.Get("Content-Type") == "application/json"
	for _, part := range []string{`{"error":{`, `"code":` + itoa(status), `"type":"` + kind + `"`, `"message":"demo: `, text} {
		ok = ok && strings.Contains(r.body, part)
	}
	if !ok {
		t.Errorf("%s: %d %s\nwant %d %s %s", name, r.status, r.body, status, kind, text)
	}
}
