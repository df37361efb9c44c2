package wasm

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/patchbay-run/patchbay/host/internal/events"
	"github.com/patchbay-run/patchbay/host/internal/wasm/turns"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// Options say how a plugin is run.
type Options struct {
	Name, Version string
	Config        []byte        // a JSON object; nil is {}
	Routes        []string      // the manifest's, "METHOD /path", in its order
	Secrets       []string      // names of the secrets that are granted and present
	Workers       int           // upper bound; 0 is one per CPU
	CPU           time.Duration // CPU time of a worker between two polls
	Memory        int64         // bytes of linear memory of one worker
	Stack         int64         // bytes of machine stack of one worker; 0 is DefaultStack
	InFlight      int           // requests in one worker
	Fetches       int           // operations of capabilities under way in one worker; 0 is no bound
	Answer        int64         // bytes of one answer's body
	Headers       int           // bytes of one answer's header block; 0 is what the ABI carries
	LogLines      int           // a second, of all workers, and twice as many at once; 0 is no bound
	PlainStart    bool          // every worker initialises itself, where others begin as copies of the first
	Fresh         bool          // an instance for each request, where others share workers
	Instances     int           // of those, how many at a time; further requests wait in order. 0 is defaultInstances
	Recycle       Recycle
	Faults        Faults
	Capabilities  map[abi.OpCode]Capability
	Quick         map[abi.OpCode]Quick
	Log           *slog.Logger

	// Event is told what happens to the workers, beside the log. It is called under locks of the engine: it must neither block nor call
	// anything of it. nil is nobody.
	Event func(kind events.Kind, text string)
}

const defaultInstances = 256

// Pool is the workers of one loaded plugin. Its owner calls Close.
type Pool struct {
	module       *Module
	options      Options
	configFields []abi.Field

	limits limitCounts
	log    *guestLog // of all workers

	share *turns.Share
	guard *guard
	slots *semaphore.Weighted // of instances that serve one request
	queue atomic.Int64        // requests that wait for one
	made  atomic.Int64        // workers ever

	active   atomic.Int64 // calls of Serve under way
	draining atomic.Bool  // takes no new request
	requests atomic.Int64 // ever

	image atomic.Pointer[image] // what further workers begin as
	plain string                // why there is none; set before Start returns

	mu       sync.Mutex // guards what follows
	workers  []*worker
	retiring []*worker            // they take no request and end with their last
	fresh    map[*worker]struct{} // each serves one request
	starting int
	changed  chan struct{} // closed and replaced when workers, starting or draining changes
	closed   bool          // has no worker, and gets none
	traps    int64
	recycled [reasons]int64
	restart  time.Duration
	born     time.Time // when the newest worker started, or its first start in a row failed
	rest     time.Time // until when no further worker joins those that run, because the last one did not start
	lastErr  string
	starts   sync.WaitGroup
	stopped  context.Context // ends, for errStopped, with Close
	stop     context.CancelCauseFunc

	background sync.WaitGroup // operations under way, and workers that retire
}

// Start starts the first worker and returns when it is ready: a plugin that can't start fails here.
// Further workers, up to the bound, are started when they are needed. The module must outlive the pool.
func (m *Module) Start(ctx context.Context, o Options) (*Pool, error) {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Stack <= 0 {
		o.Stack = DefaultStack
	}
	if o.Config == nil {
		o.Config = []byte("{}")
	}
	if o.Instances <= 0 {
		o.Instances = defaultInstances
	}
	p := &Pool{
		module: m, options: o, changed: make(chan struct{}), restart: restartMin,
		share: m.engine.turns.Share(), guard: newGuard(o.Fresh, o.Faults), slots: semaphore.NewWeighted(int64(o.Instances)),
		fresh: map[*worker]struct{}{},
	}
	if p.options.Event == nil {
		p.options.Event = func(events.Kind, string) {}
	}
	p.log = newGuestLog(o.Log, o.LogLines, &p.limits)
	p.stopped, p.stop = context.WithCancelCause(context.Background())
	p.configFields = append(p.configFields,
		abi.Field{Name: ":config", Value: string(o.Config)},
		abi.Field{Name: ":plugin", Value: o.Name},
		abi.Field{Name: ":version", Value: o.Version},
		abi.Field{Name: ":memory", Value: strconv.FormatInt(o.Memory, 10)})
	for _, r := range o.Routes {
		p.configFields = append(p.configFields, abi.Field{Name: ":route", Value: r})
	}
	for _, s := range o.Secrets {
		p.configFields = append(p.configFields, abi.Field{Name: ":secret", Value: s})
	}
	if n := abi.BlockSize(p.configFields); n > abi.MaxBlock || len(p.configFields) > abi.MaxFields {
		return nil, fmt.Errorf("the plugin's configuration takes %d bytes with its routes, over the %d that the ABI carries", n, abi.MaxBlock)
	}
	w, err := p.startWorker(ctx, false)
	if err != nil {
		return nil, err
	}
	p.remember(w)
	p.mu.Lock()
	err = p.addLocked(w)
	p.mu.Unlock()
	if err != nil {
		p.forgetImage()
		return nil, err
	}
	return p, nil
}

// notifyLocked wakes whoever waits for a change; p.mu is held.
func (p *Pool) notifyLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Drain refuses new requests and waits until those in flight are answered, or ctx ends.
func (p *Pool) Drain(ctx context.Context) error {
	p.mu.Lock()
	p.draining.Store(true)
	p.notifyLocked()
	workers := p.workers
	p.mu.Unlock()
	for _, w := range workers {
		w.push(event{kind: abi.Drain})
		w.kick()
	}
	return p.quiet(ctx)
}

// quiet waits until no request is in flight.
func (p *Pool) quiet(ctx context.Context) error {
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		active := p.active.Load() // after that: the last to leave closes what changed is now
		if active == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d requests were still in flight: %w", active, ctx.Err())
		}
	}
}

// Close ends every worker and returns when nothing of them is left. Requests that are still in flight fail with
// ErrStopped. A second call does nothing.
func (p *Pool) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.draining.Store(true)
	p.closed = true
	p.stop(errStopped)
	p.notifyLocked()
	p.mu.Unlock()
	p.starts.Wait()
	p.mu.Lock()
	workers := p.workers
	p.workers = nil
	for w := range p.fresh {
		workers = append(workers, w)
	}
	p.mu.Unlock()
	for _, w := range workers {
		w.close()
	}
	_ = p.quiet(context.Background())
	p.background.Wait()
	p.forgetImage()
}
