package main

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// maxQuery is the longest query in characters. Providers have lower limits of their own and say so.
const maxQuery = 2000

// readQuery is the query as it was typed, without white space around it. Other fields are ignored: a client of another
// backend may send them.
func readQuery(r *plugin.Request) (string, error) {
	b, err := r.Bytes(plugin.MaxJSON)
	if err != nil {
		return "", err
	}
	typed, ok := quickQuery(b)
	if !ok {
		var in struct {
			Q *string `json:"q"`
		}
		if r.Body = bytes.NewReader(b); len(b) == 0 {
			r.Body = strings.NewReader("") // as it was
		}
		if err := r.JSON(&in); err != nil {
			return "", err
		}
		if in.Q == nil {
			return "", plugin.Errorf(422, `The request needs "q", the text to search for.`)
		}
		typed = *in.Q
	}
	query := strings.TrimSpace(typed)
	if query == "" {
		return "", plugin.Errorf(422, `"q" is empty; it is the text to search for.`)
	}
	if n := utf8.RuneCountInString(query); n > maxQuery {
		return "", plugin.Errorf(422, `"q" has %d characters; at most %d are allowed.`, n, maxQuery)
	}
	return query, nil
}

// quickQuery reads what encoding/json would, or gives up; see quickPages.
func quickQuery(b []byte) (query string, ok bool) {
	if !utf8.Valid(b) {
		return "", false
	}
	q := quick{text: string(b)}
	found := false
	q.object(func(key string) {
		switch {
		case key == "q" && q.next() == '"' && !found:
			found = true
			query = q.string()
		case strings.EqualFold(key, "q"):
			q.failed = true
		default:
			q.skip()
		}
	})
	q.space()
	return query, found && !q.failed && q.pos == len(q.text)
}

// normal is the query as the cache's key has it: what differs only in its white space is the same search. Capitals count: "Polish" and "US" are
// other words than "polish" and "us", to a provider that understands the text and to the model.
func normal(query string) string {
	single := true
	for i := range len(query) {
		if c := query[i]; c < ' ' || c >= utf8.RuneSelf || c == ' ' && query[i+1] == ' ' { // it does not end in a space
			single = false
			break
		}
	}
	if single {
		return query
	}
	return strings.Join(strings.Fields(query), " ")
}
