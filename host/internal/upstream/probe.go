package upstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

const (
	maxMetrics = 8 << 20   // bytes of a page that are read
	maxLine    = 256 << 10 // bytes of a line of it
)

// prober asks endpoints how they are, on connections of its own, which go the way of the pool's: a pool that is full must not make
// its endpoints look dead, and a check of a connection that is open already would check less.
type prober struct {
	client  *http.Client
	proxied bool
}

func (u *Upstream) newProber(set settings) *prober {
	transport := newTransport(set)
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return set.open(ctx, u.private || u.isDemo(addr), network, addr)
	}
	transport.DialTLSContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		raw, err := transport.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return set.secure(ctx, raw, addr)
	}
	transport.DisableKeepAlives = true
	return &prober{proxied: set.proxy != "", client: &http.Client{
		Timeout:       u.health.Timeout, // to the end of the body
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// watch starts what the configuration asks to be looked at from time to time, until ctx ends. running is done when all of it has
// stopped. It is counted before watch returns: so a Set that is closed just after it was reloaded is not the last to look.
func (u *Upstream) watch(ctx context.Context, set settings, running *sync.WaitGroup) {
	p := u.newProber(set)
	for _, m := range u.members {
		if u.health.Path != "" {
			m.mu.Lock()
			m.checkers++
			m.mu.Unlock()
			running.Go(func() {
				every(ctx, u.health.Interval, func() {
					err := p.check(ctx, m, u.health.Path)
					if ctx.Err() == nil {
						u.checked(m, err, time.Now())
					}
				})
				m.forget()
			})
		}
		if m.metrics != nil && u.queue.Metric != "" {
			m.pollers.Add(1)
			running.Go(func() {
				missed := 0
				every(ctx, u.queue.Interval, func() {
					waiting, err := p.waiting(ctx, m.metrics, u.queue.Metric)
					if ctx.Err() != nil {
						return
					}
					if missed++; err == nil {
						missed = 0
					} else if missed < 3 {
						return // what was true a moment ago is better than nothing
					}
					m.queue.Store(math.Float64bits(waiting))
				})
				if m.pollers.Add(-1) == 0 {
					m.queue.Store(0)
				}
			})
		}
	}
}

// watched says whether watch has anything to do.
func (u *Upstream) watched() bool {
	for _, m := range u.members {
		if u.health.Path != "" || m.metrics != nil && u.queue.Metric != "" {
			return true
		}
	}
	return false
}

// every calls f at once and then after each interval, give or take a tenth, so that many servers do not ask in step.
func every(ctx context.Context, interval time.Duration, f func()) {
	for ctx.Err() == nil {
		f()
		wait := time.NewTimer(time.Duration((0.9 + 0.2*rand.Float64()) * float64(interval)))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
		}
	}
}

// forget ends one configuration's checks. What they found is dropped when nobody checks any more.
func (r *record) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.checkers--; r.checkers > 0 {
		return
	}
	r.checks, r.problem = 0, ""
	r.down.Store(false)
}

func (p *prober) get(ctx context.Context, at *url.URL) (*http.Response, error) {
	to := at
	if p.proxied && at.Scheme == "http" {
		to = absolute(at)
	}
	req := (&http.Request{Method: http.MethodGet, URL: to, Host: at.Host, Header: http.Header{"User-Agent": {"patchbay"}}}).WithContext(ctx)
	resp, err := p.client.Do(req)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err
		}
		return nil, fmt.Errorf("get %s: %w", at, err)
	}
	return resp, nil
}

// check asks an endpoint for its health.
func (p *prober) check(ctx context.Context, m *member, path string) error {
	at, err := m.url(path, "")
	if err != nil {
		return err
	}
	resp, err := p.get(ctx, &at)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("get %s: status %d", &at, resp.StatusCode)
	}
	return nil
}

// waiting reads how many calls wait inside an endpoint.
func (p *prober) waiting(ctx context.Context, at *url.URL, metric string) (float64, error) {
	resp, err := p.get(ctx, at)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("get %s: status %d", at, resp.StatusCode)
	}
	sum, err := sumMetric(io.LimitReader(resp.Body, maxMetrics), metric)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", at, err)
	}
	return sum, nil
}

// sumMetric adds up the samples of one metric in Prometheus' text format. Only lines that begin with its name
// are parsed, so that a page with thousands of others costs little. What is no count (NaN, negative, infinite) counts as 0.
func sumMetric(page io.Reader, metric string) (float64, error) {
	var kept bytes.Buffer
	lines := bufio.NewScanner(page)
	lines.Buffer(make([]byte, 0, 4<<10), maxLine)
	for lines.Scan() {
		line := bytes.TrimLeft(lines.Bytes(), " \t")
		if rest, ok := bytes.CutPrefix(line, []byte(metric)); ok && len(rest) > 0 && (rest[0] == '{' || rest[0] == ' ' || rest[0] == '\t') {
			kept.Write(line)
			kept.WriteByte('\n')
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(&kept)
	if err != nil {
		return 0, err
	}
	family := families[metric]
	if family == nil {
		return 0, fmt.Errorf("there is no %s", metric)
	}
	sum := 0.0
	for _, m := range family.GetMetric() {
		if v := m.GetUntyped().GetValue(); v > 0 && v <= math.MaxInt32 { // without its TYPE line, a metric is untyped
			sum += v
		}
	}
	return sum, nil
}
