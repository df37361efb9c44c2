package main

import (
	"encoding/json"
	"fmt"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// reader is how a provider's answer is read: array is the key of the list of its pages, keys are theirs. With an answer of which only
// the beginning is there the list is looked for at any depth.
type reader struct {
	array string
	keys  pageKeys
	read  func(body []byte) ([]page, error) // in place of slowPages, for an answer of another form
}

// pageKeys are the names of a page's parts; one that is "" is not there.
type pageKeys struct{ title, url, content, raw, score, published string }

// pages reads a whole answer.
func (r reader) pages(body []byte) ([]page, error) {
	if r.read != nil {
		return r.read(body)
	}
	if pages, ok := r.quickPages(body); ok {
		return pages, nil
	}
	return r.slowPages(body)
}

// slowPages has the word on what an answer says.
func (r reader) slowPages(body []byte) ([]page, error) {
	var answer map[string]json.RawMessage
	if err := decode(body, &answer); err != nil {
		return nil, err
	}
	var list []map[string]json.RawMessage
	if err := json.Unmarshal(answer[r.array], &list); err != nil || list == nil {
		return nil, fmt.Errorf("%w: it has no list of %s", plugin.ErrReply, r.array)
	}
	var pages []page
	for _, hit := range list {
		var p page
		for key, part := range map[string]any{
			r.keys.title: &p.title, r.keys.url: &p.url, r.keys.content: &p.content, r.keys.raw: &p.raw, r.keys.published: &p.published, r.keys.score: &p.score,
		} {
			if value := hit[key]; key != "" && value != nil && json.Unmarshal(value, part) != nil {
				return nil, fmt.Errorf("%w: its %s is of another type", plugin.ErrReply, key)
			}
		}
		pages = append(pages, p)
	}
	return pages, nil
}
