package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// feedSchema is docs/live-feed.schema.json.
func feedSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := os.ReadFile("../../../docs/live-feed.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("live-feed.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("live-feed.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// listen connects to a listener's feed.
func listen(t *testing.T, url string, header http.Header) *websocket.Conn {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(url, "http"), header)
	if err != nil {
		t.Fatal(err, resp)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	return conn
}

// fed reads a frame that follows the schema.
func fed(t *testing.T, conn *websocket.Conn, schema *jsonschema.Schema) (f fedFrame) {
	t.Helper()
	_, frame, err := conn.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(frame))
	if err != nil {
		t.Fatalf("%v: %s", err, frame)
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%v\n%s", err, frame)
	}
	if err := json.Unmarshal(frame, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

type fedFrame struct {
	Type, Topic string
	Data        json.RawMessage
}

// TestFeedFollowsItsSchema: every frame that a server sends is what docs/live-feed.schema.json says.
func TestFeedFollowsItsSchema(t *testing.T) {
	schema := feedSchema(t)
	p := serve(t, setup{plugins: "models"})
	p.ok("GET", "/api/models", "")
	p.do("GET", "/nowhere", "")
	for _, listener := range []struct {
		url    string
		header http.Header
		past   string // the topic whose history is asked for
		say    []string
		want   []string // each comes, in any order
	}{
		{
			p.url + "/api/live?rate=250ms", nil, "system",
			[]string{
				`{"type":"subscribe","topics":["system"],"history":"10m"}`,
				`{"type":"subscribe","topics":["plugins"]}`,
				`{"type":"unsubscribe","topics":["system"]}`,
			},
			[]string{"hello", "state system", "state http", "history system", "subscribed", "error"},
		},
		{
			p.admin + "/api/live?topics=http,system,plugins,upstreams,events&rate=250ms", http.Header{"Authorization": {"Bearer " + p.token}}, "http",
			[]string{fmt.Sprintf(`{"type":"subscribe","topics":["http"],"since":%q}`, time.Now().Add(-time.Hour).UTC().Format(time.RFC3339))},
			[]string{"hello", "state system", "state http", "state plugins", "state upstreams", "state events", "history http", "subscribed"},
		},
	} {
		eventually(t, "there is a point at least", func() bool {
			conn := listen(t, listener.url, listener.header)
			defer conn.Close()
			if err := conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"type":"subscribe","topics":[%q],"history":"10m"}`, listener.past)); err != nil {
				t.Fatal(err)
			}
			for {
				if f := fed(t, conn, schema); f.Type == "history" && f.Topic == listener.past {
					return bytes.Contains(f.Data, []byte(`"points":[[`))
				}
			}
		})
		conn := listen(t, listener.url, listener.header)
		missing := map[string]bool{}
		for _, want := range listener.want {
			missing[want] = true
		}
		read := func() {
			f := fed(t, conn, schema)
			if f.Type == "history" && !bytes.Contains(f.Data, []byte(`"points":[[`)) {
				t.Errorf("no points: %s", f.Data)
			}
			delete(missing, strings.TrimSpace(fmt.Sprint(f.Type, " ", f.Topic)))
		}
		for missing["state system"] { // before it is unsubscribed from
			read()
		}
		for _, message := range listener.say {
			if err := conn.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
				t.Fatal(err)
			}
		}
		for n := 0; len(missing) > 0 || n < 20; n++ {
			read()
		}
	}
	// A schema that lets everything pass proves nothing.
	for _, wrong := range []string{
		`{"type":"state","topic":"http","seq":1,"time":"2026-01-01T00:00:00Z","data":{}}`,
		`{"type":"state","topic":"http","seq":0,"time":"2026-01-01T00:00:00Z","data":{}}`,
		`{"type":"error","topic":"","seq":0,"time":"2026-01-01T00:00:00Z","data":{"detail":""}}`,
		`{"type":"hello","topic":"x","seq":0,"time":"2026-01-01T00:00:00Z","data":{}}`,
		`{"type":"history","topic":"http","seq":0,"time":"yesterday","data":{"step_seconds":1,"fields":["time"],"points":[]}}`,
		`{"type":"gone","topic":"","seq":0,"time":"2026-01-01T00:00:00Z","data":null}`,
	} {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(wrong))
		if err != nil {
			t.Fatal(err)
		}
		if schema.Validate(value) == nil {
			t.Errorf("the schema allows %s", wrong)
		}
	}
}

// TestTheFeedsExamplesAreTaken: what docs/live-feed.md shows as an address or a message is no mistake, on either listener.
func TestTheFeedsExamplesAreTaken(t *testing.T) {
	text, err := os.ReadFile("../../../docs/live-feed.md")
	if err != nil {
		t.Fatal(err)
	}
	queries := regexp.MustCompile(`\?topics=[\w,&=]*`).FindAllString(string(text), -1)
	messages := regexp.MustCompile(`(?m)^ {4}({"type".*})$`).FindAllStringSubmatch(string(text), -1)
	if len(queries) < 3 || len(messages) < 4 {
		t.Fatalf("the examples are not found: %q %q", queries, messages)
	}
	p, schema := serve(t, setup{plugins: "models"}), feedSchema(t)
	for url, header := range map[string]http.Header{p.url: nil, p.admin: {"Authorization": {"Bearer " + p.token}}} {
		for _, query := range queries {
			conn := listen(t, url+"/api/live"+query, header)
			until := func(kind string) {
				for f := (fedFrame{}); f.Type != kind; {
					if f = fed(t, conn, schema); f.Type == "error" {
						t.Fatalf("%s: %s", query, f.Data)
					}
				}
			}
			until("hello")
			for _, m := range messages {
				if err := conn.WriteMessage(websocket.TextMessage, []byte(m[1])); err != nil {
					t.Fatal(err)
				}
				until("subscribed") // or what was wrong with the address, which comes first
			}
		}
	}
}

// TestFeedShowsWhatPluginsPublish: states and events of a plugin reach the operator, and nobody else unless they are public.
func TestFeedShowsWhatPluginsPublish(t *testing.T) {
	limited := newProvider(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	s := setup{plugins: "search", tavily: limited.url, cache: "1MiB", search: "providers: [tavily, demo]"}
	granted := func(grant string) string {
		return strings.Replace(s.yaml(t), "grant: {", "grant: {publish: ["+grant+"], ", 1)
	}
	p, schema := serve(t, s), feedSchema(t)
	operator := listen(t, p.admin+"/api/live?topics=events", http.Header{"Authorization": {"Bearer " + p.token}})
	everybody := listen(t, p.url+"/api/live?topics=", nil)
	// until reads frames of a type until each of what is wanted has come, in any order.
	until := func(conn *websocket.Conn, kind string, want ...string) {
		t.Helper()
		for len(want) > 0 {
			if f := fed(t, conn, schema); f.Type == kind {
				want = slices.DeleteFunc(want, func(w string) bool { return strings.Contains(string(f.Data), w) })
			}
		}
	}
	subscribe := func(conn *websocket.Conn) {
		t.Helper()
		if err := conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"subscribe","topics":["plugin/search/providers"],"rate":"250ms"}`)); err != nil {
			t.Fatal(err)
		}
	}
	replace(t, p.file, granted("{topic: providers}, {topic: events}"))
	until(operator, "topics", `"plugin/search/providers"`)
	subscribe(operator)
	until(operator, "state", `"resting":[]`)
	p.search("anything")
	until(operator, "state", `"resting":[{"provider":"tavily"`, `"kind":"suspended"`)
	subscribe(everybody)
	until(everybody, "error", `there is no topic \"plugin/search/providers\"; the topics are system, http"`)
	replace(t, p.file, granted("{topic: providers, public: true}"))
	until(everybody, "topics", `"plugin/search/providers"`)
	subscribe(everybody)
	until(everybody, "state", `"resting":[{"provider":"tavily"`)
	replace(t, p.file, s.yaml(t))
	until(everybody, "topics", `["system","http"]`)
}
