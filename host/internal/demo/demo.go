// Package demo is an upstream to try the product against, without a key or a network. It speaks Tavily's and SearXNG's
// search protocols and GPUStack's model list and chat, over a small corpus of articles that are embedded in the binary.
//
// The search is a real one (BM25 over the corpus). The chat is not a language model: it picks the sentences of its
// sources that fit the question and quotes them. Every answer says where it came from, by the header X-Patchbay-Demo
// and in its text, so that nobody mistakes it for the real service. It has no authentication: it accepts any key,
// looks at none, and listens on loopback addresses only unless told otherwise.
package demo

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Header is set to "1" on every answer of the demo, errors included.
const Header = "X-Patchbay-Demo"

// Options say how the demo behaves. The zero value answers at once, without errors, on loopback addresses.
type Options struct {
	Delay     time.Duration // before the first byte of an answer, as a slow provider or a long prefill makes it
	TokenGap  time.Duration // between two tokens of a chat; a chat that is not streamed takes the sum of its gaps
	ErrorRate float64       // 0 to 1, the share of requests answered 500; the same requests fail in every run

	OldGPUStack bool // GET /v1/models answers as GPUStack v0.x does
	AllowRemote bool // Serve and Listen accept an address that other machines reach

	MaxBody     int64 // bytes of one request body; 0 is 4 MiB
	MaxInFlight int   // requests at once, beyond which the answer is 503; 0 is 8,192

	Log *slog.Logger     // where net/http reports broken connections; nil reports them nowhere
	Now func() time.Time // the clock for timestamps and measured times; nil is time.Now
}

const (
	defaultMaxBody     = 4 << 20
	defaultMaxInFlight = 8192
)

// withDefaults fills in the zero fields and reports every field that makes no sense.
func (o Options) withDefaults() (Options, error) {
	var problems []error
	if o.Delay < 0 || o.TokenGap < 0 {
		problems = append(problems, fmt.Errorf("delay %v and token gap %v must not be negative", o.Delay, o.TokenGap))
	}
	if !(o.ErrorRate >= 0 && o.ErrorRate <= 1) { // written so that NaN is refused too
		problems = append(problems, fmt.Errorf("error rate %v must be between 0 and 1", o.ErrorRate))
	}
	if o.MaxBody < 0 || o.MaxInFlight < 0 {
		problems = append(problems, fmt.Errorf("max body %d and max in flight %d must not be negative", o.MaxBody, o.MaxInFlight))
	}
	if o.MaxBody == 0 {
		o.MaxBody = defaultMaxBody
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = defaultMaxInFlight
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o, errors.Join(problems...)
}

// Server is the demo upstream. It is an http.Handler; Serve runs it on a listener of its own. All methods may be
// called at the same time. There is nothing to close.
type Server struct {
	opts   Options
	index  *index
	models []model
	routes map[string][]route // by path
	stats  counters
	lastID atomic.Uint64

	mu   sync.Mutex // guards dice
	dice *rand.Rand
}

// New parses and indexes the embedded corpus. It fails on options that make no sense.
func New(opts Options) (*Server, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("demo upstream: %w", err)
	}
	articles, err := loadCorpus(corpusFiles)
	if err != nil {
		return nil, fmt.Errorf("demo upstream: %w", err)
	}
	s := &Server{opts: opts, index: newIndex(articles)}
	// A fixed seed: a run with an error rate can be repeated.
	s.dice = rand.New(rand.NewPCG(1, 2))
	s.models = models(s.index)
	s.routes = make(map[string][]route)
	for _, r := range s.table() {
		s.routes[r.path] = append(s.routes[r.path], r)
	}
	return s, nil
}

// unlucky says whether the error rate hits this request.
func (s *Server) unlucky() bool {
	if s.opts.ErrorRate == 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dice.Float64() < s.opts.ErrorRate
}

// Stats is what the demo has seen since New. Requests to /, /healthz and /readyz are not in it.
type Stats struct {
	Requests  int64 // begun, refused ones included
	Searches  int64 // of these, to a search path
	Chats     int64 // of these, to a chat path
	InFlight  int64 // begun and not yet answered to the last byte
	Cancelled int64 // given up because the client left or the server stopped
	Conns     int64 // connections accepted by Serve
	OpenConns int64 // of these, still open
}

type counters struct {
	requests, searches, chats, inFlight, cancelled, conns, openConns atomic.Int64
}

// Stats reads the counters. Each is exact; together they are not one moment.
func (s *Server) Stats() Stats {
	return Stats{
		Requests:  s.stats.requests.Load(),
		Searches:  s.stats.searches.Load(),
		Chats:     s.stats.chats.Load(),
		InFlight:  s.stats.inFlight.Load(),
		Cancelled: s.stats.cancelled.Load(),
		Conns:     s.stats.conns.Load(),
		OpenConns: s.stats.openConns.Load(),
	}
}
