package capability

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/patchbay-run/patchbay/host/internal/events"
	"github.com/patchbay-run/patchbay/host/internal/topics"
	"github.com/patchbay-run/patchbay/host/internal/trace"
	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// publisher shows people what a plugin has to say of itself.
type publisher struct {
	plugin Plugin
	board  *topics.Board
	events *events.Log
	topics map[string]bool // granted
	rate   *rate.Limiter   // of events
	kind   *regexp.Regexp  // of events
}

func newPublish(h *Host, p Plugin, t *Table) {
	pb := &publisher{
		plugin: p, board: h.Parts().Topics, events: h.Parts().Events, topics: map[string]bool{},
		rate: rate.NewLimiter(rate.Limit(float64(p.EventRate)/time.Minute.Seconds()), p.EventRate),
		kind: regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`),
	}
	if pb.board != nil {
		for _, g := range p.Grant.Publish {
			pb.topics[g.Topic] = true
		}
		pb.board.Prepare(p.Name, Topics(p.Grant.Publish))
	}
	t.Quick[abi.OpPublish] = wasm.Quick{Do: func(in *wasm.Operation) error {
		if !pb.topics[in.Name] { // then the name is the guest's own words
			return pb.publish(in)
		}
		return kept(trace.Publish(in.Context, in.Name), pb.publish(in))
	}}
}

func (p *publisher) publish(in *wasm.Operation) error {
	switch {
	case in.Name == "" || len(in.Name) > abi.MaxTopic:
		return &abi.Error{Code: abi.Invalid, Text: fmt.Sprintf("publish: a topic has 1 to %d bytes, not %d", abi.MaxTopic, len(in.Name))}
	case !p.topics[in.Name]:
		return p.denied(in)
	case len(in.Body) > abi.MaxState:
		return &abi.Error{Code: abi.TooLarge, Text: fmt.Sprintf("publish: a state has at most %d bytes, not %d", abi.MaxState, len(in.Body))}
	case in.Name == abi.TopicEvents:
		return p.event(in)
	}
	var state json.RawMessage
	if len(in.Body) > 0 {
		var err error
		if state, err = readState(in.Body); err != nil {
			return &abi.Error{Code: abi.Invalid, Text: "publish: " + err.Error()}
		}
	}
	if !p.board.Publish(p.plugin.Name, in.Name, state) { // a newer configuration has taken the grant back
		return p.denied(in)
	}
	return nil
}

func (p *publisher) denied(in *wasm.Operation) error {
	return p.plugin.refuse(in, fmt.Sprintf("plugin %q may not publish %s: add to its grant: publish: [{topic: %s}]", p.plugin.Name, yaml(in.Name), yaml(in.Name)))
}

// event adds to what the operator is shown.
func (p *publisher) event(in *wasm.Operation) error {
	var e struct {
		Kind    string `json:"kind"`
		Subject string `json:"subject"`
		Text    string `json:"text"`
	}
	d := json.NewDecoder(bytes.NewReader(in.Body))
	d.DisallowUnknownFields()
	err := d.Decode(&e)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("something follows the object")
		}
	}
	switch {
	case err != nil:
		return &abi.Error{Code: abi.Invalid, Text: "publish: read the event: " + err.Error()}
	case !p.kind.MatchString(e.Kind):
		return &abi.Error{Code: abi.Invalid, Text: "publish: an event's kind is 1 to 32 lower-case letters, digits and dashes, and begins with a letter"}
	case e.Subject == "":
		return &abi.Error{Code: abi.Invalid, Text: "publish: an event has a subject"}
	case !p.rate.Allow():
		return &abi.Error{Code: abi.Limit, Text: fmt.Sprintf("publish: more than limits.events (%d a minute)", p.plugin.EventRate)}
	}
	happened := events.Event{Kind: events.Kind(e.Kind), Subject: e.Subject, Text: e.Text, By: p.plugin.Name}.Bounded()
	p.plugin.Log.Info("the plugin tells of an event", "kind", e.Kind, "subject", happened.Subject, "text", happened.Text, "request", in.RequestID)
	p.events.Add(happened)
	return nil
}

// readState checks a guest's JSON and leaves out what spaces are in it.
func readState(b []byte) (json.RawMessage, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("a state is UTF-8")
	}
	if !shallow(b, abi.MaxStateDepth) {
		return nil, fmt.Errorf("a state is nested at most %d deep", abi.MaxStateDepth)
	}
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		return nil, fmt.Errorf("a state is JSON: %w", err)
	}
	return out.Bytes(), nil
}

// shallow says whether the objects and lists of a JSON text are nested at most so deep. What it says of other texts means nothing.
func shallow(b []byte, most int) bool {
	depth, text := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			if depth++; depth > most {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return true
}
