package wasm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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
	InFlight      int           // requests in one worker
	Fetches       int           // operations of capabilities under way in one worker; 0 is no bound
	Answer        int64         // bytes of one answer's body
	Headers       int           // bytes of one answer's header block; 0 is what the ABI carries
	LogLines      int           // a second, of all workers, and twice as many at once; 0 is no bound
	PlainStart    bool          // every worker initialises itself, where others begin as copies of the first
	Capabilities  map[abi.OpCode]Capability
	Log           *slog.Logger
}

const (
	// saturated is how long events may lie in a mailbox before another worker joins. A worker that is awake serves
	// in batches, so few are better than many.
	saturated   = 2 * time.Millisecond
	restartMin  = 50 * time.Millisecond
	restartMax  = 10 * time.Second
	restartCalm = 10 * time.Second // a worker that lived this long was no failure to start
)

// Pool is the workers of one loaded plugin. Its owner calls Close.
type Pool struct {
	module       *Module
	options      Options
	configFields []abi.Field

	busy   atomic.Int64 // nanoseconds that guests have run
	limits limitCounts
	log    *guestLog // of all workers

	mu       sync.Mutex // guards what follows
	workers  []*worker
	starting int
	changed  chan struct{} // closed and replaced when workers, starting or draining changes
	active   int           // calls of Serve under way
	draining bool          // takes no new request
	closed   bool          // has no worker, and gets none
	traps    int64
	requests int64
	restart  time.Duration
	born     time.Time // when the newest worker started, or its first start in a row failed
	rest     time.Time // until when no further worker joins those that run, because the last one did not start
	lastErr  string
	starts   sync.WaitGroup
	stopped  context.Context // ends, for errStopped, with Close
	stop     context.CancelCauseFunc

	background sync.WaitGroup // operations under way
}

// Start starts the first worker and returns when it is ready: a plugin that can't start fails here.
// Further workers, up to the bound, are started when they are needed. The module must outlive the pool.
func (m *Module) Start(ctx context.Context, o Options) (*Pool, error) {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Config == nil {
		o.Config = []byte("{}")
	}
	p := &Pool{module: m, options: o, changed: make(chan struct{}), restart: restartMin}
	p.log = newGuestLog(o.Log, o.LogLines, &p.limits)
	p.stopped, p.stop = context.WithCancelCause(context.Background())
	p.configFields = append(p.configFields,
		abi.Field{Name: ":config", Value: string(o.Config)},
		abi.Field{Name: ":plugin", Value: o.Name},
		abi.Field{Name: ":version", Value: o.Version})
	for _, r := range o.Routes {
		p.configFields = append(p.configFields, abi.Field{Name: ":route", Value: r})
	}
	for _, s := range o.Secrets {
		p.configFields = append(p.configFields, abi.Field{Name: ":secret", Value: s})
	}
	if n := abi.BlockSize(p.configFields); n > abi.MaxBlock || len(p.configFields) > abi.MaxFields {
		return nil, fmt.Errorf("the plugin's configuration takes %d bytes with its routes, over the %d that the ABI carries", n, abi.MaxBlock)
	}
	w, err := p.startWorker(ctx)
	if err == nil {
		p.mu.Lock()
		err = p.addLocked(w)
		p.mu.Unlock()
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// addLocked takes a worker in, unless it died since it was ready: nobody would replace it. p.mu is held.
func (p *Pool) addLocked(w *worker) error {
	w.mu.Lock()
	fault := w.fault
	w.mu.Unlock()
	if fault != nil {
		return fmt.Errorf("start the plugin: it was ready and died: %w", fault)
	}
	p.workers, p.born = append(p.workers, w), time.Now()
	p.notifyLocked()
	return nil
}

// notifyLocked wakes whoever waits for a change; p.mu is held.
func (p *Pool) notifyLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// acquire picks a worker and puts the call into it: the first that has room and keeps up. It waits while workers
// are being started, and has another one started when all that run are behind.
func (p *Pool) acquire(ctx context.Context, c *call) error {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return errStopped
		}
		var behind *worker
		alive := 0 // a worker that has just died is still in the list
		for _, w := range p.workers {
			lives, room, late := w.look()
			if lives {
				alive++
			}
			if !room {
				continue
			}
			if !late && w.admit(c) {
				p.mu.Unlock()
				return nil
			}
			if behind == nil {
				behind = w
			}
		}
		if alive > 0 && alive+p.starting < p.options.Workers && time.Now().After(p.rest) {
			p.startLocked(0)
		}
		if behind != nil && behind.admit(c) {
			p.mu.Unlock()
			return nil
		}
		if alive > 0 {
			p.mu.Unlock()
			return ErrFull
		}
		changed := p.changed
		p.mu.Unlock()
		if err := c.waitFor(ctx, changed); err != nil {
			return err
		}
	}
}

// startLocked starts one more worker after a delay; p.mu is held.
func (p *Pool) startLocked(delay time.Duration) {
	p.starting++
	p.starts.Add(1)
	go func() {
		defer p.starts.Done()
		w, err := p.startLater(delay)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.starting--
		if err == nil {
			err = p.addLocked(w)
		}
		switch {
		case err == nil, errors.Is(err, errStopped):
		default:
			p.lastErr = err.Error()
			p.options.Log.Error("a worker did not start", "error", err)
			delay := p.backOff()
			p.rest = time.Now().Add(max(delay, restartMin))
			if len(p.workers) == 0 && !p.closed {
				p.startLocked(delay)
			}
		}
	}()
}

func (p *Pool) startLater(delay time.Duration) (*worker, error) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.stopped.Done():
		return nil, errStopped
	}
	w, err := p.startWorker(p.stopped)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		w.close()
		return nil, errStopped
	}
	return w, nil
}

// backOff is how long to wait before the next start, doubling while workers die young; p.mu is held.
func (p *Pool) backOff() time.Duration {
	if time.Since(p.born) > restartCalm {
		p.restart = restartMin
		p.born = time.Now() // the next failure in a row is no first one
		return 0
	}
	d := p.restart
	p.restart = min(2*p.restart, restartMax)
	return d
}

// died replaces a worker that trapped.
func (p *Pool) died(w *worker, fault error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.workers, w)
	if i < 0 {
		return // it died while it started, which its starter reports
	}
	trap := &TrapError{fault}
	p.options.Log.Error("a worker trapped and is replaced", "error", trap)
	p.traps++
	p.lastErr = trap.Reason()
	p.workers = slices.Delete(slices.Clone(p.workers), i, i+1)
	if len(p.workers) == 0 && p.starting == 0 && !p.closed {
		p.startLocked(p.backOff())
	}
	p.notifyLocked()
}

// Drain refuses new requests and waits until those in flight are answered, or ctx ends.
func (p *Pool) Drain(ctx context.Context) error {
	p.mu.Lock()
	p.draining = true
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
		active, changed := p.active, p.changed
		p.mu.Unlock()
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
	p.draining, p.closed = true, true
	p.stop(errStopped)
	p.notifyLocked()
	p.mu.Unlock()
	p.starts.Wait()
	p.mu.Lock()
	workers := p.workers
	p.workers = nil
	p.mu.Unlock()
	for _, w := range workers {
		w.close()
	}
	_ = p.quiet(context.Background())
	p.background.Wait()
}

// Stats is a look at a pool.
type Stats struct {
	Start     string  `json:"start,omitempty"` // how workers begin: from a snapshot, or plainly and why
	Workers   int     `json:"workers"`
	Bound     int     `json:"workers_max"`
	InFlight  int     `json:"in_flight"`
	Waiting   int     `json:"mailbox"`      // events that no guest has taken yet
	Memory    uint64  `json:"memory_bytes"` // linear memory of all workers
	Requests  int64   `json:"requests"`
	Busy      float64 `json:"busy_seconds"` // time that guests have run
	Traps     int64   `json:"traps"`
	LastError string  `json:"last_error,omitempty"`
	Draining  bool    `json:"draining,omitempty"`
	// Limits says how often each of the limits was met, by the name of its setting.
	Limits map[string]int64 `json:"limits,omitempty"`
}

// Stats looks at the pool without stopping it.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{
		Start:   p.start(),
		Workers: len(p.workers), Bound: p.options.Workers, InFlight: p.active,
		Busy: time.Duration(p.busy.Load()).Seconds(), Requests: p.requests, Traps: p.traps, LastError: p.lastErr, Draining: p.draining,
		Limits: p.limits.byName(),
	}
	for _, w := range p.workers {
		s.Memory += uint64(w.memory.Load())
		w.mu.Lock()
		s.Waiting += w.box.len()
		w.mu.Unlock()
	}
	return s
}

func (p *Pool) start() string {
	c := p.module.c
	switch {
	case p.options.PlainStart:
		return "plain: configured"
	case c.plan == nil:
		return "plain: " + c.plain
	case c.image.Load() == nil:
		return "plain: no image could be taken"
	}
	return "snapshot"
}
