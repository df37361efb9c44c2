package live

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
)

// wish is what a client asks for, by message or in the address.
type wish struct {
	drop   bool // unsubscribe
	topics []string
	rate   rate
	since  time.Time // of the history; zero asks for none
}

// parse reads a message. now is what a length of history is counted back from. The error is for the client.
func parse(message []byte, now time.Time) (wish, error) {
	var m struct {
		Type    string   `json:"type"`
		Topics  []string `json:"topics"`
		Rate    *string  `json:"rate"`
		History *string  `json:"history"`
		Since   *string  `json:"since"`
	}
	d := json.NewDecoder(bytes.NewReader(message))
	d.DisallowUnknownFields()
	err := d.Decode(&m)
	if err == nil {
		if _, more := d.Token(); more != io.EOF {
			err = errors.New("there is more after the object")
		}
	}
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) { // its own text speaks of Go types
		err = fmt.Errorf("%s may not be of type %s", cmp.Or(wrong.Field, "it"), wrong.Value)
	}
	if err != nil {
		return wish{}, fmt.Errorf(`this is no message (%s); send an object such as {"type":"subscribe","topics":["http"],"rate":"1s"}`,
			strings.TrimPrefix(err.Error(), "json: "))
	}
	w := wish{topics: m.Topics, rate: normal}
	switch m.Type {
	case "subscribe":
	case "unsubscribe":
		if w.drop = true; m.Rate != nil || m.History != nil || m.Since != nil {
			return wish{}, errors.New("unsubscribe takes topics alone")
		}
	default:
		return wish{}, fmt.Errorf(`there is no type %q; use "subscribe" or "unsubscribe"`, clip(m.Type))
	}
	if len(w.topics) == 0 {
		return wish{}, fmt.Errorf(`%s needs "topics", a list with one name at least`, m.Type)
	}
	return w, w.options(m.Rate, m.History, m.Since, now)
}

// parseQuery reads what the address wishes; nil topics are none mentioned.
func parseQuery(q url.Values, now time.Time) (wish, error) {
	w := wish{rate: normal}
	one := func(key string) *string {
		if !q.Has(key) {
			return nil
		}
		v := q.Get(key)
		return &v
	}
	if list := one("topics"); list != nil {
		w.topics = []string{}
		for name := range strings.SplitSeq(*list, ",") {
			if name != "" {
				w.topics = append(w.topics, name)
			}
		}
	}
	return w, w.options(one("rate"), one("history"), one("since"), now)
}

func (w *wish) options(name, length, since *string, now time.Time) error {
	if name != nil {
		var ok bool
		if w.rate, ok = parseRate(*name); !ok {
			return fmt.Errorf("there is no rate %q; use one of %s", clip(*name), strings.Join(rateNames(), ", "))
		}
	}
	switch {
	case length != nil && since != nil:
		return errors.New(`ask for "history" or "since", not for both`)
	case length != nil:
		d, err := time.ParseDuration(*length)
		if err != nil || d <= 0 {
			return fmt.Errorf(`history is %q; write a length such as "10m"`, clip(*length))
		}
		w.since = now.Add(-d)
	case since != nil:
		t, err := time.Parse(time.RFC3339, *since)
		if err != nil || t.Year() < 1970 || t.Year() > 9999 {
			return fmt.Errorf(`since is %q; write the time of the last frame seen, such as "2026-01-02T15:04:05Z"`, clip(*since))
		}
		w.since = t
	}
	return nil
}

// clip keeps an answer from being as long as what it answers.
func clip(s string) string {
	const longest = 64
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}
