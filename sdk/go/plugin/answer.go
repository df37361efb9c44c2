package plugin

import (
	"context"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// Answer answers a request with the value of key, as Once gives it: with the status and headers that are set on w, those that were kept with the value
// (Keep.Header), Age and X-Cache, and the value behind what was written to w. A value that is there already does not pass through the plugin: the
// host sends it, which costs a fraction. Nothing can be written after it. When it fails, w is as it was.
func (c *Cache) Answer(w *Response, key string, compute func(ctx context.Context, keep *Keep) ([]byte, error)) error {
	direct := w
	if w.stage != open || w.status != 0 && w.status != 200 || w.bodyless() {
		direct = nil // the host has no answer of that kind
	}
	got, err := c.once(w.x.req.Context(), key, direct, compute)
	if err != nil || got == nil {
		return err
	}
	return got.Answer(w)
}

// Answer writes the value as Cache.Answer does.
func (got *Cached) Answer(w *Response) error {
	w.header = abi.AppendCached(w.header, got.Header, got.Age, got.State.String())
	_, err := w.Write(got.Value)
	return err
}
