package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// brief is how long an answer that lacks something is kept.
const brief = 10 * time.Second

// What is kept of an answer is its document behind the query, which each client gets as it typed it, with the headers that go with it.

// headers are those of an answer whose sources were found at a time.
func headers(demo bool, at time.Time) plugin.Header {
	var h plugin.Header
	if demo {
		h.Set(demoHeader, "1")
	}
	if age := int64(time.Since(at) / time.Second); age > 0 {
		h.Set("age", strconv.FormatInt(age, 10))
	}
	return h
}

// What is kept of sources without their summary is the same, behind a byte and when they were found, in milliseconds since 1970.
const (
	fromProvider = 'p'
	fromDemo     = 'd'
	packedHead   = 1 + 8
)

// pack is sources as they are kept.
func pack(b *body, demo bool, at time.Time) ([]byte, error) {
	head := []byte{fromProvider}
	if demo {
		head[0] = fromDemo
	}
	return appendRest(binary.BigEndian.AppendUint64(head, uint64(at.UnixMilli())), b)
}

// unpack reads what pack made.
func unpack(kept []byte) (b *body, demo bool, at time.Time, err error) {
	if len(kept) < packedHead {
		return nil, false, at, errors.New("read what was kept: it is too short")
	}
	var a answer
	if err := json.Unmarshal(append(appendHead(nil, ""), kept[packedHead:]...), &a); err != nil {
		return nil, false, at, fmt.Errorf("read what was kept: %w", err)
	}
	return &a.Result, kept[0] == fromDemo, time.UnixMilli(int64(binary.BigEndian.Uint64(kept[1:]))), nil
}

// summaryStatus is there while there may be sources whose summary failed. The operator reads it; and a search that needs no such sources looks
// for none, which the cache would count as a miss.
const summaryStatus = "status:summary"

// keepFound keeps what a provider found, without a summary.
func (s *service) keepFound(ctx context.Context, query string, b *body, demo bool, at time.Time) {
	kept, err := pack(b, demo, at)
	if err != nil || s.cache.TTL <= 0 {
		return
	}
	// Where nothing can be kept, it is asked for again.
	if s.cache.Put(ctx, s.foundKey(query), kept) == nil {
		_ = s.cache.Put(ctx, summaryStatus, fmt.Appendf(nil, `{"why":"a summary failed","at":%q}`, time.Now().UTC().Format(time.RFC3339)))
	}
}

// keptFound is what keepFound kept, and when that was found; nil when nothing is there.
func (s *service) keptFound(ctx context.Context, query string) (b *body, demo bool, at time.Time) {
	if s.cache.TTL <= 0 || s.cfg.Summary.Model == "" {
		return nil, false, at
	}
	if _, failed, err := s.cache.Get(ctx, summaryStatus); err != nil || !failed {
		return nil, false, at
	}
	kept, ok, err := s.cache.Get(ctx, s.foundKey(query))
	if err != nil || !ok {
		return nil, false, at
	}
	if b, demo, at, err = unpack(kept); err != nil {
		return nil, false, at
	}
	return b, demo, at
}

func (s *service) foundKey(query string) string { return "found:" + s.key + normal(query) }

// cacheKey begins the keys of a configuration: with another one, or another version of the plugin, the same query may have another answer.
func cacheKey(version string, cfg config) (string, error) {
	cfg.Cache = cacheConfig{}
	b, err := json.Marshal(cfg)
	if err != nil {
		return "", fmt.Errorf("encode the configuration: %w", err)
	}
	sum := sha256.Sum256(append(b, version...))
	return "answer:" + hex.EncodeToString(sum[:8]) + ":", nil
}

// noCache says whether the client wants an answer that is not kept.
func noCache(r *plugin.Request) bool {
	for _, line := range r.Header.Values("cache-control") {
		for directive := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(directive), "no-cache") {
				return true
			}
		}
	}
	return false
}
