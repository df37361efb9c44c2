package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestFeedFollowsItsSchema: every frame that a server with a working and a broken plugin sends is what docs/live-feed.schema.json says.
func TestFeedFollowsItsSchema(t *testing.T) {
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

	p := serve(t, setup{plugins: "models"})
	p.ok("GET", "/api/models", "")
	p.do("GET", "/nowhere", "")
	for _, listener := range []struct {
		url    string
		header http.Header
		say    []string
		want   []string // each comes, in any order
	}{
		{
			p.url + "/api/live?rate=250ms", nil,
			[]string{
				`{"type":"subscribe","topics":["system"],"history":"10m"}`,
				`{"type":"subscribe","topics":["plugins"]}`,
				`{"type":"unsubscribe","topics":["system"]}`,
			},
			[]string{"hello", "state system", "state http", "history system", "subscribed", "error"},
		},
		{
			p.admin + "/api/live?topics=http,system,plugins,upstreams&rate=250ms", http.Header{"Authorization": {"Bearer " + p.token}},
			[]string{`{"type":"subscribe","topics":["http"],"since":"2026-01-01T00:00:00Z"}`},
			[]string{"hello", "state system", "state http", "state plugins", "state upstreams", "history http", "subscribed"},
		},
	} {
		time.Sleep(1200 * time.Millisecond) // so that there is a point at least
		conn, resp, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+strings.TrimPrefix(listener.url, "http"), listener.header)
		if err != nil {
			t.Fatal(err, resp)
		}
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		for _, message := range listener.say {
			if err := conn.WriteMessage(websocket.TextMessage, []byte(message)); err != nil {
				t.Fatal(err)
			}
		}
		missing := map[string]bool{}
		for _, want := range listener.want {
			missing[want] = true
		}
		for n := 0; len(missing) > 0 || n < 20; n++ {
			_, frame, err := conn.ReadMessage()
			if err != nil {
				t.Fatalf("%v; still missing: %v", err, missing)
			}
			value, err := jsonschema.UnmarshalJSON(bytes.NewReader(frame))
			if err != nil {
				t.Fatalf("%v: %s", err, frame)
			}
			if err := schema.Validate(value); err != nil {
				t.Errorf("%v\n%s", err, frame)
			}
			var f struct {
				Type, Topic string
				Data        struct{ Points [][]float64 }
			}
			_ = json.Unmarshal(frame, &f)
			if f.Type == "history" && len(f.Data.Points) == 0 {
				t.Errorf("no points: %s", frame)
			}
			delete(missing, strings.TrimSpace(fmt.Sprint(f.Type, " ", f.Topic)))
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
