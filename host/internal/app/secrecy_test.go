package app_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/patchbay-run/patchbay/host/internal/otlptest"
)

// What must be seen nowhere but where it belongs.
const (
	tavilyKey   = "tvly-4711-do-not-tell"
	gpustackKey = "gpustack_0123456789abcdef_0123456789abcdef0123456789abcdef"
	prompt      = "zebra-in-the-prompt"
	query       = "giraffe-in-the-query"
	generated   = "okapi-in-the-answer"
)

// told looks for secrets, prompts, queries and answers, in the spellings in which they could stand in a text.
func told(text string) (found []string) {
	for _, s := range []string{tavilyKey, gpustackKey, prompt, query, generated} {
		for _, spelling := range []string{s, url.QueryEscape(s), base64.StdEncoding.EncodeToString([]byte(s))} {
			if strings.Contains(text, spelling) {
				found = append(found, s)
				break
			}
		}
	}
	return found
}

// TestFault15NothingSecretIsTold: prompts and keys stood in the original's logs. Here upstreams do their worst and say
// back all that they were sent, and everything that the server says is looked through.
func TestFault15NothingSecretIsTold(t *testing.T) {
	// back is all that an upstream was sent.
	back := func(r *http.Request) string {
		b, _ := io.ReadAll(r.Body)
		return fmt.Sprintf("%s %s %v %s %s", r.Method, r.URL, r.Header, b, generated)
	}
	// worst is how an upstream answers, by a word in what it is asked.
	worst := func(w http.ResponseWriter, r *http.Request) {
		echo := back(r)
		message, _ := json.Marshal(map[string]any{"error": map[string]any{"message": echo, "code": 500}, "detail": map[string]string{"error": echo}})
		stream := func() {
			begin(w)
			event(w, generated)
		}
		for word, answer := range map[string]func(){
			"status-400":   func() { writeJSON(w, 400, string(message)) },
			"status-401":   func() { writeJSON(w, 401, string(message)) },
			"status-403":   func() { writeJSON(w, 403, string(message)) },
			"status-404":   func() { writeJSON(w, 404, string(message)) },
			"status-429":   func() { writeJSON(w, 429, string(message)) },
			"status-500":   func() { writeJSON(w, 500, string(message)) },
			"status-503":   func() { writeJSON(w, 503, string(message)) },
			"error-in-200": func() { writeJSON(w, 200, string(message)) },
			"no-json":      func() { writeJSON(w, 200, "{"+echo) },
			"not-the-type": func() { writeJSON(w, 200, fmt.Sprintf(`{"results":%q,"choices":%q,"data":%q}`, echo, echo, echo)) },
			"html": func() {
				w.Header().Set("Content-Type", "text/html")
				_, _ = io.WriteString(w, echo)
			},
			"redirect": func() {
				w.Header().Set("Location", "/elsewhere?q="+url.QueryEscape(echo))
				w.WriteHeader(302)
			},
			"cut":       func() { panic(http.ErrAbortHandler) },
			"cut-later": func() { stream(); panic(http.ErrAbortHandler) },
			"error-first": func() {
				begin(w)
				fmt.Fprintf(w, "data: %s\n\n", message)
			},
			"error-later": func() {
				stream()
				fmt.Fprintf(w, "data: %s\n\n", message)
				done(w)
			},
			"no-event": func() {
				begin(w)
				_, _ = io.WriteString(w, echo)
			},
			"late": func() { time.Sleep(400 * time.Millisecond) },
			"fine": func() {
				if strings.HasSuffix(r.URL.Path, "/search") {
					writeJSON(w, 200, results(3, page))
				} else {
					say(w, chat{Stream: strings.Contains(echo, `"stream":true`)}, generated)
				}
			},
		} {
			if strings.Contains(echo, word+".") {
				answer()
				return
			}
		}
		writeJSON(w, 401, string(message)) // the list of models, which has no words
	}
	words := []string{"status-400", "status-401", "status-403", "status-404", "status-429", "status-500", "status-503", "error-in-200", "no-json",
		"not-the-type", "html", "redirect", "cut", "cut-later", "error-first", "error-later", "no-event", "late", "fine"}
	stack, tavily := newProvider(t, worst), newProvider(t, worst)

	key := filepath.Join(t.TempDir(), "key")
	write(t, key, gpustackKey+"\n")
	receiver := otlptest.Start(t, "http/protobuf", nil)
	s := setup{gpustack: stack.url, chats: "auth: {secret: gpustack}, response_timeout: 200ms", tavily: tavily.url, searchKey: "tavily",
		search: "timeout: 200ms", summary: "summarist",
		top: fmt.Sprintf("secrets:\n  tavily: {env: TAVILY, hosts: [127.0.0.1], insecure: true}\n  gpustack: {file: %q, upstream: gpustack, insecure: true}\n%s", key, tracesTo(receiver, ", protocol: http/protobuf"))}
	p := serve(t, s, "TAVILY="+tavilyKey)
	live, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(p.url, "http")+"/api/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()

	// said is what is never allowed: the words of the upstream, but for those that are the client's by the table.
	said := func(what string, a answer, allowed ...string) {
		t.Helper()
		text := fmt.Sprint(a.header, string(a.body))
		for _, s := range allowed {
			text = strings.ReplaceAll(text, s, "")
		}
		if found := told(text); len(found) > 0 {
			t.Errorf("%s: the answer %d tells %v", what, a.status, found)
		}
	}
	ask := func() {
		for _, word := range words {
			for _, path := range []string{"/api/inference/infer", "/api/inference/stream"} {
				a, err := p.try(t.Context(), "POST", p.url+path, chatBody(word+".", prompt))
				if err == nil && a.status >= 400 && !strings.Contains("status-400 status-404 status-429 status-503 error-in-200 error-first", word) {
					said(word+" on "+path, a)
				}
				if word == "error-later" {
					_, _ = p.try(t.Context(), "POST", p.url+path, chatBody(word+".", prompt), "X-Stream-Events", "1")
				}
			}
			a, err := p.try(t.Context(), "POST", p.url+"/api/tools/search", searchBody(word+". "+query))
			if err == nil && !strings.Contains("status-400 status-404 status-503", word) {
				said(word+" of a search", a, query, generated)
			}
		}
		said("models", p.do("GET", "/api/models", ""))
		for _, body := range []string{`{"q":"` + query, `{"q":{"a":"` + query + `"}}`, `{"` + query + `":1}`, query, `{"q":"` + strings.Repeat(query, 200) + `"}`} {
			a := p.do("POST", "/api/tools/search", body)
			if a.status != 422 {
				t.Errorf("%s: %v", body, a)
			}
		}
		for _, body := range []string{`{"messages":"` + prompt, prompt, `["` + prompt + `"]`, `{"messages":"` + prompt + `"}{`} {
			p.do("POST", "/api/inference/infer", body)
			p.do("POST", "/api/inference/stream", body)
		}
		half := p.dial()
		_, _ = io.WriteString(half, "POST /api/inference/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"+prompt)
		half.Close()
		p.do("GET", "/nowhere/"+prompt+"?q="+query, "")
		p.do("POST", "/api/models?q="+query, prompt)
		_ = p.exchange(strings.NewReader(prompt + " " + query + "\r\n\r\n"))
	}
	ask()

	// The same queries through a provider whose address holds them, and one that nobody listens at.
	s.search += fmt.Sprintf(", searxng: {endpoint: %q}", tavily.url)
	searxng := strings.NewReplacer("provider: tavily", "provider: searxng", "methods: [POST], paths: [/search], secret: tavily}", "methods: [GET], paths: [/search], secret: tavily}").Replace(s.yaml(t))
	replace(t, p.file, searxng)
	eventually(t, "searxng is asked", func() bool {
		return strings.Contains(string(p.admins("/api/config").body), `"searxng"`) && p.reasons() == ""
	})
	ask()
	dead := strings.ReplaceAll(searxng, strings.TrimPrefix(tavily.url, "http://127.0.0.1"), ":1")
	dead = strings.ReplaceAll(dead, "port: "+tavily.url[strings.LastIndexByte(tavily.url, ':')+1:], "port: 1")
	replace(t, p.file, dead)
	eventually(t, "nobody is asked", func() bool { return p.search("anybody").status == 502 })
	said("nobody there", p.search(query))

	// A configuration with mistakes near secrets.
	replace(t, p.file, strings.Replace(searxng, "env: TAVILY", "env: TAVILY, value: "+tavilyKey[:4], 1))
	eventually(t, "the mistake is a reason", func() bool { return strings.Contains(p.reasons(), "value") })

	for _, path := range []string{"/", "/api/plugins", "/api/plugins/search", "/api/config", "/api/upstreams", "/readyz?verbose", "/metrics", "/debug/pprof/goroutine?debug=2"} {
		said("admin "+path, p.admins(path))
	}
	for _, path := range []string{"/api/health", "/api/metrics", "/readyz"} {
		said(path, p.do("GET", path, ""))
	}
	_ = live.SetReadDeadline(time.Now().Add(patience))
	for range 3 {
		_, b, err := live.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		said("the feed", answer{body: b})
	}
	lines := 0
	for line := range strings.Lines(p.log.String()) {
		lines++
		if found := told(line); len(found) > 0 {
			t.Errorf("the log tells %v: %.600s", found, line)
		}
	}
	if lines < 100 {
		t.Errorf("the log has %d lines: it is not at debug", lines)
	}
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	spans := receiver.Spans()
	for _, span := range spans {
		if found := told(span.String()); len(found) > 0 {
			t.Errorf("the traces tell %v: %.600v", found, span)
		}
	}
	if names := otlptest.Names(spans); len(spans) < 100 || !slices.Contains(names, "chat fine.") || !slices.Contains(names, "plugin search") {
		t.Errorf("there are %d spans: %q", len(spans), names)
	}
}
