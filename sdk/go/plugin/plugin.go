// Package plugin is for plugins of Patchbay in Go: handlers for HTTP routes that run as WebAssembly inside the host.
//
// A plugin is a main package with an empty main, because the host calls it, not the other way round:
//
//	func main() {}
//
//	func init() { plugin.Serve(Setup) }
//
//	func Setup(p *plugin.Plugin) error {
//		p.Handle("GET /hello/{name}", hello)
//		return nil
//	}
//
//	func hello(w *plugin.Response, r *plugin.Request) error {
//		return w.JSON(200, map[string]string{"hello": r.PathValue("name")})
//	}
//
// It is built with GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared, and tested natively with package plugintest.
//
// One instance serves many requests at once, each on a goroutine. Goroutines, channels, time.Sleep and contexts work as ever; Fetch, and the
// reading and writing of bodies, let others run while they wait. There is one thread: a handler that computes holds up the others.
// Instances start as copies of one image, in which the state of math/rand is the same: take ids and secrets from crypto/rand.
package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// Handler answers a request. It runs on a goroutine of its own. When it returns, the answer is complete and the request's context ends.
// An error becomes the answer if nothing was sent (see AsError), else the connection is aborted.
// A panic is logged with its stack and answered with 500; the plugin goes on.
type Handler func(w *Response, r *Request) error

// Serve says what sets the plugin up. Call it once, from an init function. setup runs when the host has sent the configuration, before any
// request; its error is shown to the operator, and the plugin does not start. Outside WebAssembly Serve does nothing, so that tests can use plugintest.
func Serve(setup func(*Plugin) error) { serve(setup) }

// Plugin is what setup is given.
type Plugin struct {
	rt       *runtime
	name     string
	version  string
	config   string
	secrets  []string
	manifest []string  // routes
	routes   []Handler // by their index in the manifest
	failed   []error   // of Handle
}

// Name is the plugin's name in its manifest.
func (p *Plugin) Name() string { return p.name }

// Version is the plugin's version in its manifest.
func (p *Plugin) Version() string { return p.version }

// Config decodes the operator's configuration, a JSON object, into v. A key that v does not have is an error that names it.
func (p *Plugin) Config(v any) error {
	config := p.config
	if config == "" {
		config = "{}"
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(config)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			err = unmarshal([]byte(config), v)
		}
		return fmt.Errorf("config of plugin %q: %s", p.name, strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// HasSecret reports whether the secret is granted to the plugin and present, so that a Call may name it.
func (p *Plugin) HasSecret(name string) bool { return slices.Contains(p.secrets, name) }

// Handle says who answers a route, "METHOD /path" exactly as in the manifest. A route of the manifest without a handler, a handler without a
// route, and a second handler for one route stop the plugin from starting.
func (p *Plugin) Handle(route string, h Handler) {
	i := slices.Index(p.manifest, route)
	switch {
	case h == nil:
		p.failed = append(p.failed, fmt.Errorf("handle %q: the handler is nil", route))
	case i < 0:
		p.failed = append(p.failed, fmt.Errorf("handle %q: no such route in the manifest, which has %q", route, p.manifest))
	case p.routes[i] != nil:
		p.failed = append(p.failed, fmt.Errorf("handle %q: it has a handler already", route))
	default:
		p.routes[i] = h
	}
}

// Log is the plugin's logger. Lines about a request belong to Request.Log.
func (p *Plugin) Log() *slog.Logger { return slog.New(&logHandler{host: p.rt.host}) }

// Context is for calls that belong to no request: those of setup, and background work. It ends when the host has drained the worker.
func (p *Plugin) Context() context.Context { return &p.rt.back }

// configure is the event CONFIG: it reads the block and starts setup. Called with mu held.
func (rt *runtime) configure(block []byte) {
	if rt.plugin != nil {
		return
	}
	p := &Plugin{rt: rt}
	rt.plugin = p
	fields, err := abi.ParseBlock(block)
	for _, f := range fields {
		switch f.Name {
		case ":plugin":
			p.name = f.Value
		case ":version":
			p.version = f.Value
		case ":memory":
			if memory, err := strconv.ParseInt(f.Value, 10, 64); err == nil && memory > 0 && rt.onMemory != nil {
				rt.onMemory(memory)
			}
		case ":config":
			p.config = f.Value
		case ":secret":
			p.secrets = append(p.secrets, f.Value)
		case ":route":
			p.manifest = append(p.manifest, f.Value)
		}
	}
	p.routes = make([]Handler, len(p.manifest))
	rt.spawn(func() {
		if err == nil {
			err = p.setUp()
		}
		rt.mu.Lock()
		defer rt.mu.Unlock()
		ready := rt.record(abi.OpReady, 0, 0)
		if err != nil {
			ready.Arg, ready.Body = 1, []byte(err.Error())
		}
		rt.submit()
	})
}

// setUp runs the author's setup and checks that every route has its handler.
func (p *Plugin) setUp() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("setup panicked: %v\n%s", v, debug.Stack())
		}
	}()
	if p.rt.setup == nil {
		return errors.New("plugin.Serve was not called: call it from an init function")
	}
	if err := p.rt.setup(p); err != nil {
		return err
	}
	for i, h := range p.routes {
		if h == nil {
			p.failed = append(p.failed, fmt.Errorf("route %q of the manifest has no handler: call Handle for it in setup", p.manifest[i]))
		}
	}
	return errors.Join(p.failed...)
}
