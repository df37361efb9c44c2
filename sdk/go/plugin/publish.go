package plugin

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// Events is the topic of what happens to the plugin: Publish adds an Event to those that the operator is shown.
const Events = abi.TopicEvents

// Event is what Publish takes under Events, such as {"suspended", "api.example.org", "it answers 429"}.
type Event struct {
	Kind    string `json:"kind"`           // a word: lower-case letters, digits and dashes, up to 32 of them
	Subject string `json:"subject"`        // to whom it happened, up to 256 bytes
	Text    string `json:"text,omitempty"` // what there is to say, up to 1 KiB; no place for what users typed
}

// Publish shows people how the plugin stands: state is what the topic says from now on, in the server's live feed and to the operator. It is
// encoded as JSON of up to 16 KiB, nested up to 32 deep; nil takes the topic's state away. The newest state is all there is, of all workers and
// versions of the plugin, so publishing often costs little, and not every state is seen. Under Events it adds an Event instead.
//
// The operator grants topics one by one; a public one is seen by anybody. Without a grant it is ErrDenied, with too large a state ErrTooLarge,
// with more events than limits.events allows ErrLimit. ctx descends from Request.Context or Plugin.Context.
func Publish(ctx context.Context, topic string, state any) error {
	s := scopeOf(ctx)
	if s == nil {
		return &FetchError{Code: abi.Invalid, Text: "publish: the context descends neither from Request.Context nor from Plugin.Context"}
	}
	var body []byte
	if state != nil {
		var err error
		if body, err = json.Marshal(state); err != nil {
			return &FetchError{Code: abi.Invalid, Text: "publish: encode the state: " + err.Error()}
		}
	}
	switch {
	case len(body) > abi.MaxState:
		return &FetchError{Code: abi.TooLarge, Text: fmt.Sprintf("publish: the state of %q has %d bytes as JSON, over %d", topic, len(body), abi.MaxState)}
	case ctx.Err() != nil:
		return scopeError(ctx.Err())
	}
	rt := s.rt
	rt.mu.Lock()
	defer rt.mu.Unlock()
	record := rt.record(abi.OpPublish, s.request, 0)
	record.Name, record.Body = topic, body
	switch code := rt.submit(); code {
	case abi.OK:
		return nil
	case abi.Denied:
		return &FetchError{Code: code, Text: fmt.Sprintf("publish: no grant allows the topic %q: add to the plugin's grant: publish: [{topic: %s}]", topic, topic)}
	case abi.Limit:
		return &FetchError{Code: code, Text: "publish: more events within a minute than the plugin's limits.events allows"}
	default:
		return s.refused("publish", code)
	}
}
