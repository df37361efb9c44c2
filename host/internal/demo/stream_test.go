package demo_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/demo"
)

func itoa(n int) string { return strconv.Itoa(n) }

type chunk struct {
	Object  string `json:"object"`
	Choices []struct {
		Delta        message `json:"delta"`
		FinishReason *string `json:"finish_reason"`
	} `json:"choices"`
	Usage *usage `json:"usage"`
}

const streamBody = `{"model":"demo-chat","stream":true,"messages":[{"role":"user","content":"what is wazero"}]}`

// UPDATE_GOLDEN=1 go test writes the file anew.
func TestStreamGolden(t *testing.T) {
	now := func() time.Time { return time.Unix(1_780_000_000, 0) }
	u := start(t, demo.Options{Now: now})
	r := u.do("POST", "/v1/chat/completions", `{"model":"demo-chat","stream":true,"messages":[{"role":"user","content":`+
		`"Question: is 漢字 <b>bold</b> in the café?\n[1] Café & 漢字 - https://c.example/é\nIn the café the 漢字 are written <b>bold</b>, from $3.50 to $1.25."}]}`)
	const file = "testdata/stream.golden"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(file, []byte(r.body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if r.body != string(want) {
		t.Errorf("the stream is not that of %s:\n%s", file, r.body)
	}
	for name, value := range map[string]string{"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"} {
		if got := r.header.Get(name); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
}

// A stream says the same as the whole answer, piece by piece.
func TestStreamAddsUpToTheAnswer(t *testing.T) {
	u := start(t, demo.Options{})
	want := u.ask(message{"user", "what is wazero"})
	data := events(t, strings.NewReader(u.do("POST", "/v1/chat/completions", streamBody).body))
	if last := data[len(data)-1]; last != "[DONE]" {
		t.Fatalf("the last event is %s", last)
	}
	var text strings.Builder
	tokens := 0
	chunks := make([]chunk, len(data)-1)
	for i, d := range data[:len(data)-1] {
		if err := json.Unmarshal([]byte(d), &chunks[i]); err != nil {
			t.Fatalf("%v in %s", err, d)
		}
		for _, c := range chunks[i].Choices {
			text.WriteString(c.Delta.Content)
			if c.Delta.Content != "" {
				tokens++
			}
		}
	}
	if text.String() != want {
		t.Errorf("the stream says:\n%s\nthe answer:\n%s", text.String(), want)
	}
	if chunks[0].Choices[0].Delta.Role != "assistant" {
		t.Errorf("first chunk: %s", data[0])
	}
	finish, end := chunks[len(chunks)-2], chunks[len(chunks)-1]
	if len(finish.Choices) != 1 || finish.Choices[0].FinishReason == nil || *finish.Choices[0].FinishReason != "stop" {
		t.Errorf("finish: %+v", finish)
	}
	if end.Choices == nil || len(end.Choices) != 0 || end.Usage == nil || end.Usage.Completion != tokens {
		t.Errorf("usage: %+v, want %d tokens", end, tokens)
	}

	without := u.do("POST", "/v1/chat/completions", strings.Replace(streamBody, "{", `{"stream_options":{"include_usage":false},`, 1))
	if strings.Contains(without.body, `"usage"`) || !strings.HasSuffix(without.body, "data: [DONE]\n\n") {
		t.Errorf("include_usage false: %s", without.body)
	}
}

// Every event reaches the wire as one chunk of its own: it was written once and flushed.
func TestStreamFlushesEachEvent(t *testing.T) {
	u := start(t, demo.Options{})
	conn := u.dial(fmt.Sprintf("POST /v1/chat/completions HTTP/1.1\r\nHost: demo\r\nContent-Length: %d\r\n\r\n%s", len(streamBody), streamBody))
	r := bufio.NewReader(conn)
	text := textproto.NewReader(r)
	if status, err := text.ReadLine(); err != nil || status != "HTTP/1.1 200 OK" {
		t.Fatalf("%q, %v", status, err)
	}
	if _, err := text.ReadMIMEHeader(); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		line, err := text.ReadLine()
		if err != nil {
			t.Fatal(err)
		}
		size, err := strconv.ParseInt(line, 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		if size == 0 {
			if n < 20 {
				t.Errorf("only %d events", n)
			}
			return
		}
		event := make([]byte, size+2)
		if _, err := io.ReadFull(r, event); err != nil {
			t.Fatal(err)
		}
		if s := string(event); !strings.HasPrefix(s, "data: ") || strings.Index(s, "\n\n") != len(s)-4 {
			t.Fatalf("chunk %d is not one event: %q", n, s)
		}
	}
}

// With an hour between tokens the first one is there at once, and a client that leaves ends the stream.
func TestClientLeavesStream(t *testing.T) {
	u := start(t, demo.Options{TokenGap: time.Hour})
	answered, leave := u.open("POST", "/v1/chat/completions", streamBody)
	body := bufio.NewReader(answered().Body)
	for _, want := range []string{`"role":"assistant"`, "\n", `"content":"This"`} {
		if line, err := body.ReadString('\n'); err != nil || !strings.Contains(line, want) {
			t.Fatalf("%q, %v: want %s", line, err, want)
		}
	}
	if st := u.Stats(); st.InFlight != 1 || st.Chats != 1 || st.OpenConns != 1 || st.Cancelled != 0 {
		t.Errorf("while streaming: %+v", st)
	}
	leave()
	eventually(t, "the stream ends", func() bool { return u.Stats().InFlight == 0 })
	if got := u.Stats().Cancelled; got != 1 {
		t.Errorf("cancelled: %d", got)
	}
}

func TestClientLeavesBeforeTheAnswer(t *testing.T) {
	chat := strings.Replace(streamBody, "true", "false", 1)
	for name, c := range map[string]struct {
		opts               demo.Options
		method, path, body string
	}{
		"search":              {demo.Options{Delay: time.Hour}, "POST", "/search", `{"query":"x"}`},
		"models":              {demo.Options{Delay: time.Hour}, "GET", "/v1/models", ""},
		"stream in prefill":   {demo.Options{Delay: time.Hour}, "POST", "/v1/chat/completions", streamBody},
		"chat in its prefill": {demo.Options{Delay: time.Hour}, "POST", "/v1/chat/completions", chat},
		"chat in its decode":  {demo.Options{TokenGap: time.Hour}, "POST", "/v1/chat/completions", chat},
	} {
		t.Run(name, func(t *testing.T) {
			u := start(t, c.opts)
			_, leave := u.open(c.method, c.path, c.body)
			eventually(t, "the request arrives", func() bool { return u.Stats().InFlight == 1 })
			leave()
			eventually(t, "the request ends", func() bool { return u.Stats().InFlight == 0 })
			if got := u.Stats().Cancelled; got != 1 {
				t.Errorf("cancelled: %d", got)
			}
		})
	}
}

// A stream that is cut short must not look like one that ended.
func TestStreamCutShort(t *testing.T) {
	u := start(t, demo.Options{})
	req, err := http.NewRequest("POST", u.base+"/v1/chat/completions", strings.NewReader(streamBody))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Demo-Cut", "3")
	resp, err := u.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if n := strings.Count(string(got), "data: "); !errors.Is(err, io.ErrUnexpectedEOF) || n != 4 {
		t.Errorf("%d events, then %v; want the role, three tokens and a broken connection", n, err)
	}
	eventually(t, "the request ends", func() bool { return u.Stats().InFlight == 0 })
	if got := u.Stats().Cancelled; got != 0 {
		t.Errorf("cancelled: %d, though the client stayed", got)
	}
}
