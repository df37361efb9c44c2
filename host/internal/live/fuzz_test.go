package live

import (
	"net/url"
	"testing"
	"time"
	"unicode/utf8"
)

// However a client's bytes arrive, its frames are the same, and a close frame of one byte is found where there is one.
func FuzzIncoming(f *testing.F) {
	for _, seed := range []string{
		"\x88\x81\x00\x00\x00\x00\x03", "\x88\x01\x03", "\x88\x80\x00\x00\x00\x00", "\x88\x82\x00\x00\x00\x00\x03\xe8", "\x89\x81\x00\x00\x00\x00\x88\x88\x81",
		"\x81\xfe\x00\x01\x00\x00\x00\x00\x88\x88\xfe\x00\x01\x00\x00\x00\x00\x03", "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x88\x81",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var whole, single incoming
		whole.see(b)
		for i := range b {
			single.see(b[i : i+1])
		}
		if whole != single {
			t.Errorf("%+v, and byte by byte %+v", whole, single)
		}
		if whole.short && !whole.over {
			t.Errorf("%+v", whole)
		}
	})
}

// What a client says is a wish that can be done, or an error that can be told.
func FuzzWish(f *testing.F) {
	for _, seed := range []string{
		`{"type":"subscribe","topics":["http"],"rate":"250ms","history":"10m"}`,
		`{"type":"subscribe","topics":["plugin/a/b"],"since":"2026-01-02T15:04:05.123456789+14:00"}`,
		`{"type":"unsubscribe","topics":["http","system"]}`,
		`{"type":"subscribe","topics":[""],"history":"9223372036854775807ns"}`,
		`{"TYPE":"subscribe","topics":[null]}`, `null`, `[[[[`, `{"type":"\ud800"}`, "topics=http,system&rate=1s&since=0", "topics=%ff&rate=%ff",
	} {
		f.Add([]byte(seed))
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	check := func(t *testing.T, w wish, err error) {
		if err != nil {
			if !utf8.ValidString(err.Error()) || len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes: %q", len(err.Error()), err)
			}
			return
		}
		if w.rate >= rateCount || w.drop && !w.since.IsZero() {
			t.Errorf("%+v", w)
		}
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		w, err := parse(message, now)
		if err == nil && len(w.topics) == 0 {
			t.Errorf("no topics: %+v", w)
		}
		check(t, w, err)
		if q, err := url.ParseQuery(string(message)); err == nil {
			w, err := parseQuery(q, now)
			check(t, w, err)
		}
	})
}
