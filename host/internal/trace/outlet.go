package trace

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

const (
	// quiet is how long nothing more is said of a receiver that takes no spans.
	quiet = time.Minute

	// batchDelay is how long an ended span waits for others before it is sent.
	batchDelay = time.Second
	batchSize  = 512
)

// outlet sends spans that ended, in batches, on a goroutine of its own: what is not asked of requests, such as to put a span into bytes, is
// done there. It bounds what waits and counts what is lost.
type outlet struct {
	client  otlptrace.Client
	closing func() // frees the client's connections
	encoder encoder
	log     *slog.Logger
	hide    func(string) string
	timeout time.Duration // of a batch

	limit, batch  int
	sent, dropped atomic.Uint64

	said  time.Time // when the last line was logged. This and what follows is the goroutine's own
	bytes []byte    // of the last batch

	alive  context.Context // ends when what is left is given up
	giveUp context.CancelFunc
	first  chan struct{} // capacity 1: a span waits, or the outlet is closed
	full   chan struct{} // capacity 1: a batch waits, or the outlet is closed
	over   chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex // guards what follows; a leaf
	waiting []*Span
	sending int // of those that were taken out of waiting, not sent or lost yet
	closed  bool
}

func newOutlet(ctx context.Context, c config.Traces, e encoder, o Options) (*outlet, error) {
	client, closing, err := newClient(ctx, c)
	if err != nil {
		return nil, err
	}
	out := &outlet{
		client: client, closing: closing, encoder: e, log: o.Log, hide: o.Hide, timeout: c.Timeout, limit: c.Queue, batch: min(batchSize, c.Queue),
		first: make(chan struct{}, 1), full: make(chan struct{}, 1), over: make(chan struct{}),
	}
	out.alive, out.giveUp = context.WithCancel(context.Background())
	go out.run()
	return out, nil
}

// add queues a span that ended, or drops it. It wakes the goroutine up once for a batch, and never waits for it.
func (o *outlet) add(s *Span) {
	o.mu.Lock()
	if o.closed || len(o.waiting)+o.sending >= o.limit {
		o.mu.Unlock()
		o.dropped.Add(1)
		return
	}
	o.waiting = append(o.waiting, s)
	n := len(o.waiting)
	o.mu.Unlock()
	if n == 1 {
		nudge(o.first)
	}
	if n == o.batch {
		nudge(o.full)
	}
}

func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (o *outlet) run() {
	defer close(o.over)
	var taken []*Span
	delay := time.NewTimer(batchDelay)
	defer delay.Stop()
	for range o.first {
		delay.Reset(batchDelay)
		select {
		case <-delay.C:
		case <-o.full:
		}
		var closed bool
		taken, closed = o.take(taken)
		for rest := taken; len(rest) > 0; {
			n := min(len(rest), o.batch)
			o.send(rest[:n])
			rest = rest[n:]
		}
		if closed {
			return
		}
	}
}

// take returns the spans that wait. Those that were taken before are sent.
func (o *outlet) take(before []*Span) (taken []*Span, closed bool) {
	clear(before)
	o.mu.Lock()
	defer o.mu.Unlock()
	taken, o.waiting = o.waiting, before[:0]
	o.sending = len(taken)
	return taken, o.closed
}

// send uploads a batch. Its bytes are fields that ResourceSpans does not know yet, which protobuf writes as they are: the messages that they
// stand for need not be made. The client has let go of them when it returns.
func (o *outlet) send(batch []*Span) {
	all := &spans.ResourceSpans{}
	o.bytes = o.encoder.batch(o.bytes[:0], batch)
	all.ProtoReflect().SetUnknown(o.bytes)
	ctx, cancel := context.WithTimeout(o.alive, o.timeout)
	defer cancel()
	err := o.client.UploadTraces(ctx, []*spans.ResourceSpans{all})
	n := len(batch)
	o.mu.Lock()
	o.sending -= n
	o.mu.Unlock()
	if err == nil {
		o.sent.Add(uint64(n))
		return
	}
	o.dropped.Add(uint64(n))
	o.complain(err)
}

// complain logs a line, unless it did so lately.
func (o *outlet) complain(err error) {
	if !o.said.IsZero() && time.Since(o.said) < quiet {
		return
	}
	o.said = time.Now()
	text := o.hide(err.Error())
	o.log.Warn("spans are lost: see traces.endpoint", "error", text[:min(len(text), 1024)], "dropped", o.dropped.Load())
}

// close sends what is left, for as long as the timeout at most, and ends the goroutine. Spans that come later are lost.
func (o *outlet) close() {
	timer := time.AfterFunc(o.timeout, o.giveUp) // then whatever is left fails at once
	defer timer.Stop()
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	nudge(o.first)
	nudge(o.full)
	<-o.over
	_ = o.client.Stop(context.Background()) // nothing is under way that it could wait for
	o.giveUp()
	o.closing()
}
