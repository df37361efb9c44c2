package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/demo"
)

// demoUpstream answers for "demo:" endpoints on a loopback port, which is opened when the first of them is configured.
type demoUpstream struct {
	options config.Demo
	log     *slog.Logger

	mu   sync.Mutex // guards what follows
	url  string
	stop context.CancelFunc
	done chan struct{}
}

func newDemoUpstream(o config.Demo, log *slog.Logger) *demoUpstream {
	return &demoUpstream{options: o, log: log}
}

// resolve gives the address of a "demo:" endpoint.
func (d *demoUpstream) resolve(endpoint string) (string, error) {
	switch name, _ := strings.CutPrefix(endpoint, "demo:"); name {
	case "gpustack", "search":
	default:
		return "", fmt.Errorf("there is no %s: use demo:gpustack or demo:search", endpoint)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.url != "" {
		return d.url, nil
	}
	s, err := demo.New(demo.Options{Delay: d.options.Delay, TokenGap: d.options.TokenGap, ErrorRate: d.options.ErrorRate, Log: d.log})
	if err != nil {
		return "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("open a loopback port for the demo upstream: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	d.url, d.stop, d.done = "http://"+listener.Addr().String(), stop, make(chan struct{})
	go func() {
		defer close(d.done)
		if err := s.Serve(ctx, listener); err != nil {
			d.log.Error("the demo upstream stopped", "error", err)
		}
	}()
	d.log.Info("demo endpoints are answered by the server itself", "url", d.url)
	return d.url, nil
}

func (d *demoUpstream) close() {
	d.mu.Lock()
	stop, done := d.stop, d.done
	d.mu.Unlock()
	if stop != nil {
		stop()
		<-done
	}
}
