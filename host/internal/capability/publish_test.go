package capability_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/capability"
	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/events"
	"github.com/patchbay-run/patchbay/host/internal/logtest"
	"github.com/patchbay-run/patchbay/host/internal/topics"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// publisher is a plugin's door to publishing.
type publisher struct {
	*testing.T
	board   *topics.Board
	events  *events.Log
	refused *capability.Refusals
	log     *logtest.Buffer
	do      func(*wasm.Operation) error
}

func newPublisher(t *testing.T, rate int, grants ...config.Publish) *publisher {
	t.Helper()
	p := &publisher{T: t, board: topics.New(nil), events: events.New(nil), refused: &capability.Refusals{}, log: &logtest.Buffer{}}
	host := capability.NewHost(&capability.Parts{Topics: p.board, Events: p.events})
	p.do = capability.For(host, capability.Plugin{
		Name: "probe", Grant: config.Grant{Publish: grants}, Refused: p.refused, EventRate: rate,
		Log: slog.New(slog.NewTextHandler(p.log, nil)),
	}).Quick[abi.OpPublish].Do
	p.board.Grant(map[string][]topics.Grant{"probe": capability.Topics(grants)})
	return p
}

// publish gives the code that the guest gets.
func (p *publisher) publish(topic, state string) abi.Code {
	p.Helper()
	err := p.do(&wasm.Operation{Code: abi.OpPublish, RequestID: "req-1", Name: topic, Body: []byte(state)})
	var coded *abi.Error
	if err != nil && !errors.As(err, &coded) {
		p.Fatalf("%s: %v has no code", topic, err)
	}
	if coded != nil {
		return coded.Code
	}
	return abi.OK
}

func TestPublishStates(t *testing.T) {
	p := newPublisher(t, 10, config.Publish{Topic: "progress", Public: true}, config.Publish{Topic: "events"})
	nested := func(deep int) string { return strings.Repeat(`[{"a":`, deep/2) + "1" + strings.Repeat("}]", deep/2) }
	for name, c := range map[string]struct {
		topic, state string
		code         abi.Code
		want         string // what is shown; "" is as sent
	}{
		"object":             {"progress", `{"n":1}`, abi.OK, ""},
		"spaces":             {"progress", " { \"n\" :\t[ 1 ,\n2 ] } ", abi.OK, `{"n":[1,2]}`},
		"text":               {"progress", `"<grün> [[[[ \" ]]]] \\"`, abi.OK, ""},
		"brackets in text":   {"progress", `"` + strings.Repeat(`[{\"`, 100) + `"`, abi.OK, ""},
		"as deep as it may":  {"progress", nested(32), abi.OK, ""},
		"deeper":             {"progress", "[" + nested(32) + "]", abi.Invalid, ""},
		"very deep":          {"progress", strings.Repeat("[", 16<<10), abi.Invalid, ""},
		"as large as it may": {"progress", `"` + strings.Repeat("x", 16<<10-2) + `"`, abi.OK, ""},
		"larger":             {"progress", `"` + strings.Repeat("x", 16<<10-1) + `"`, abi.TooLarge, ""},
		"no JSON":            {"progress", `{n:1}`, abi.Invalid, ""},
		"half of it":         {"progress", `{"n":1`, abi.Invalid, ""},
		"two of them":        {"progress", `1 2`, abi.Invalid, ""},
		"only a space":       {"progress", ` `, abi.Invalid, ""},
		"no UTF-8":           {"progress", "\"\xff\"", abi.Invalid, ""},
		"no topic":           {"", `1`, abi.Invalid, ""},
		"long topic":         {strings.Repeat("x", 65), `1`, abi.Invalid, ""},
		"another topic":      {"news", `1`, abi.Denied, ""},
		"another's topic":    {"plugin/other/progress", `1`, abi.Denied, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p.publish("progress", `"before"`)
			if code := p.publish(c.topic, c.state); code != c.code {
				t.Fatalf("code %v, want %v", code, c.code)
			}
			want := `"before"`
			if c.code == abi.OK {
				want = c.state
				if c.want != "" {
					want = c.want
				}
			}
			look := p.board.Look("probe")
			if len(look) != 1 || string(look[0].State) != want || !look[0].Public {
				t.Errorf("shown is %s, want %.100s", look[0].State, want)
			}
		})
	}
	if code := p.publish("progress", ""); code != abi.OK || p.board.Look("probe")[0].State != nil {
		t.Errorf("without a state: %v, %s", code, p.board.Look("probe")[0].State)
	}
}

// TestPublishRefused: the refusal shows the line to add, and a generation that drains has what its successor has.
func TestPublishRefused(t *testing.T) {
	p := newPublisher(t, 10, config.Publish{Topic: "progress"})
	p.publish("news", `1`)
	p.publish("a: b, {x", `1`)
	p.publish("events", `{"kind":"a","subject":"b"}`)
	p.board.Grant(nil)
	if code := p.publish("progress", `1`); code != abi.Denied {
		t.Errorf("after the grant went: %v", code)
	}
	var said []string
	for _, r := range p.refused.List() {
		said = append(said, r.Text)
	}
	for i, want := range []string{
		`plugin "probe" may not publish news: add to its grant: publish: [{topic: news}]`,
		`plugin "probe" may not publish "a: b, {x": add to its grant: publish: [{topic: "a: b, {x"}]`,
		`plugin "probe" may not publish events: add to its grant: publish: [{topic: events}]`,
		`plugin "probe" may not publish progress: add to its grant: publish: [{topic: progress}]`,
	} {
		if i >= len(said) || said[i] != want {
			t.Errorf("refusals are %q, want %s", said, want)
		}
	}
	if p.events.Look(0, 1).Total != 0 {
		t.Error("there is an event")
	}
}

func TestPublishEvents(t *testing.T) {
	p := newPublisher(t, 3, config.Publish{Topic: "events"})
	long := strings.Repeat("x", 5000)
	for i, c := range []struct {
		event string
		code  abi.Code
	}{
		{`{"kind":"suspended","subject":"tavily","text":"a captcha"}`, abi.OK},
		{`{"kind":"plugin.trapped","subject":"search"}`, abi.Invalid}, // the host's own
		{`{"kind":"Suspended","subject":"tavily"}`, abi.Invalid},
		{`{"kind":"","subject":"tavily"}`, abi.Invalid},
		{`{"kind":"suspended"}`, abi.Invalid},
		{`{"kind":"suspended","subject":"tavily","by":"host"}`, abi.Invalid},
		{`{"kind":"suspended","subject":"tavily"} {}`, abi.Invalid},
		{`{"kind":"suspended","subject":1}`, abi.Invalid},
		{`[]`, abi.Invalid},
		{``, abi.Invalid},
		{`{"kind":"returned","subject":"` + long + `","text":"` + long + `"}`, abi.OK},
		{`{"kind":"returned","subject":"tavily"}`, abi.OK},
		{`{"kind":"more","subject":"tavily"}`, abi.Limit},
	} {
		if code := p.publish("events", c.event); code != c.code {
			t.Errorf("%d: %v, want %v", i, code, c.code)
		}
	}
	v := p.events.Look(0, 10)
	if len(v.Events) != 3 || v.Events[2].Kind != "suspended" || v.Events[2].Subject != "tavily" || v.Events[2].Text != "a captcha" || v.Events[2].By != "probe" {
		t.Errorf("%+v", v)
	}
	if log := p.log.String(); strings.Count(log, "the plugin tells of an event") != 3 || !strings.Contains(log, "request=req-1") || strings.Contains(log, long) {
		t.Errorf("logged:\n%.3000s", log)
	}
	if len(p.board.Look("probe")) != 0 {
		t.Error("events have a state")
	}
}

// TestPublishAtOnce has many workers publish: what is shown is whole, and one of theirs.
func TestPublishAtOnce(t *testing.T) {
	p := newPublisher(t, 1000, config.Publish{Topic: "progress"}, config.Publish{Topic: "events"})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				p.publish("progress", `{"n": [1, 2]}`)
				p.publish("events", `{"kind":"a","subject":"b"}`)
				for _, s := range p.board.Look("probe") {
					if !json.Valid(s.State) {
						t.Errorf("shown is %s", s.State)
					}
				}
			}
		})
	}
	all.Wait()
	if total := p.events.Look(0, 1).Total; total < 1000 || total > 1600 {
		t.Errorf("%d events were let in", total)
	}
}
