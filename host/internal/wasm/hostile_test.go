package wasm_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/wasm"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// outcome is what must come of a guest in testdata/hostile. Its source says so in a line of its own:
//
//	// want: start "text"       it does not load, with an error that contains text
//	// want: late start "text"  the same, when its starter has lost patience
//	// want: answer "text"      its request is answered with 200 and this body
//	// want: trap "text"        its request fails with a TrapError that contains text
//	// want: error "text"       its request fails with an error that contains text
//	// want: cpu                its request fails with a CPUError
//	// want: stack "text"       its request fails with a StackError that contains text
//	// want: timeout            its request fails with ErrTimeout
//	// memory: 8388608          another limit than 3 GiB
type outcome struct {
	what, text string
	does       string // what the comment at the top says
	cpu        time.Duration
	memory     int64
}

func readOutcome(t *testing.T, source string) outcome {
	t.Helper()
	b, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`(?m)^// want: ([a-z ]+?)(?: "(.*)")?$`).FindSubmatch(b)
	if want == nil {
		t.Fatalf("%s does not say what must come of it", source)
	}
	o := outcome{what: string(want[1]), text: string(want[2]), cpu: time.Minute, memory: 3 << 30}
	if o.what == "cpu" {
		o.cpu = 100 * time.Millisecond
	}
	if does := regexp.MustCompile(`^/\* (.*) \*/\n`).FindSubmatch(b); does != nil {
		o.does = string(does[1])
	}
	if limit := regexp.MustCompile(`(?m)^// memory: (.*)$`).FindSubmatch(b); limit != nil {
		if o.memory, err = strconv.ParseInt(string(limit[1]), 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// hostileOptions let a guest have 8 MiB and a cache with "k" under every key, and count what it logs.
func hostileOptions(lines *countingLog) wasm.Options {
	return wasm.Options{
		Name: "hostile", Version: "1.0.0", Routes: []string{"GET /"}, Workers: 1, CPU: time.Minute, Memory: 8 << 20,
		InFlight: 8, Answer: 1 << 20, LogLines: 100, Log: slog.New(lines),
		Quick: map[abi.OpCode]wasm.Quick{abi.OpCacheOnce: {Begin: func(in *wasm.Operation, _ func(*wasm.Reply, error)) (*wasm.Reply, wasm.Session, error) {
			r := &wasm.Reply{Status: abi.CacheHit, Data: []byte("k")}
			if in.Flags&abi.OpAnswer != 0 {
				r.Answer = abi.AppendCached(in.Fields, nil, 0, "hit")
			}
			return r, nil, nil
		}, Headers: true}},
	}
}

// countingLog counts lines.
type countingLog struct{ lines atomic.Int64 }

func (*countingLog) Enabled(context.Context, slog.Level) bool { return true }
func (c *countingLog) Handle(_ context.Context, r slog.Record) error {
	c.lines.Add(1)
	if len(r.Message) > 16<<10 {
		return errors.New("a line is over its limit")
	}
	return nil
}
func (c *countingLog) WithAttrs([]slog.Attr) slog.Handler { return c }
func (c *countingLog) WithGroup(string) slog.Handler      { return c }

// TestHostileGuests loads each guest of testdata/hostile, and has it serve one request if it gets that far. Whatever it does,
// the outcome is the documented one, the pool closes, and a healthy pool in the same engine goes on serving.
func TestHostileGuests(t *testing.T) {
	sources, err := filepath.Glob("testdata/hostile/*.c")
	if err != nil || len(sources) < 50 {
		t.Fatalf("%d hostile guests, error %v", len(sources), err)
	}
	needClang(t)
	e := openEngine(t)
	healthy := startHealthy(t, e)
	for _, source := range sources {
		t.Run(strings.TrimSuffix(filepath.Base(source), ".c"), func(t *testing.T) {
			want := readOutcome(t, source)
			lines := &countingLog{}
			binary, before := buildC(t, source), held()
			a, err := serveHostile(t, e, binary, want, lines)
			checkOutcome(t, want, a, err)
			nothingLeft(t, before)
			if n := lines.lines.Load(); n > 1000 {
				t.Errorf("it has written %d lines to the log", n)
			}
			if got := healthy.must(t, "GET /config", ""); got != "{}" {
				t.Errorf("the healthy pool answers %q", got)
			}
		})
	}
	if st := healthy.Stats(); st.Traps != 0 || st.Workers != 1 || st.InFlight != 0 {
		t.Errorf("the healthy pool: %+v", st)
	}
}

// holdings are what a process holds besides its heap.
type holdings struct {
	goroutines, files int
	addresses         int64 // bytes
}

// held looks at them. What the system does not tell is 0.
func held() holdings {
	h := holdings{goroutines: runtime.NumGoroutine()}
	files, _ := os.ReadDir("/proc/self/fd")
	h.files = len(files)
	status, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(status), "VmSize:")
	fmt.Sscan(after, &h.addresses)
	h.addresses <<= 10
	return h
}

// nothingLeft fails when more is held than before. A guest that is left holds 3 GiB of addresses; what the runtime of Go takes for
// its heap meanwhile, deep stacks among it, is less.
func nothingLeft(t *testing.T, before holdings) {
	t.Helper()
	waitFor(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before.goroutines })
	after := held()
	if after.files > before.files {
		t.Errorf("%d files are open, before there were %d", after.files, before.files)
	}
	if grown := after.addresses - before.addresses; grown > 2<<30 {
		t.Errorf("%d MiB of addresses are left", grown>>20)
	}
}

// startHealthy is a pool of the conformance guest.
func startHealthy(t *testing.T, e *wasm.Engine) *kitchen {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "sdk", "conformance", "guests", "c")
	s := &subject{routes: manifestRoutes(t, filepath.Join(dir, "manifest.json"))}
	var err error
	if s.module, err = e.Compile(t.Context(), buildC(t, filepath.Join(dir, "guest.c"))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.module.Release)
	return s.start(t, nil)
}

// loadError is an error of Compile or Start.
type loadError struct{ error }

func serveHostile(t *testing.T, e *wasm.Engine, binary []byte, want outcome, lines *countingLog) (*answer, error) {
	t.Helper()
	m, err := e.Compile(t.Context(), binary)
	if err != nil {
		return nil, loadError{err}
	}
	defer m.Release()
	o := hostileOptions(lines)
	o.CPU, o.Memory = want.cpu, want.memory
	ctx := t.Context()
	if want.what == "late start" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
	}
	p, err := m.Start(ctx, o)
	if err != nil {
		return nil, loadError{err}
	}
	defer p.Close()
	a := &answer{}
	req := &wasm.Request{
		ID: "hostile", Timeout: 2 * time.Minute,
		Fields: []abi.Field{{Name: ":method", Value: "GET"}, {Name: ":path", Value: "/"}, {Name: ":query"}},
	}
	if want.what == "timeout" {
		req.Timeout = 50 * time.Millisecond
	}
	return a, p.Serve(t.Context(), req, a)
}

func checkOutcome(t *testing.T, want outcome, a *answer, err error) {
	t.Helper()
	var load loadError
	var trap *wasm.TrapError
	var cpu *wasm.CPUError
	var stack *wasm.StackError
	ok := err != nil && strings.Contains(err.Error(), want.text)
	switch want.what {
	case "start", "late start":
		ok = ok && errors.As(err, &load)
	case "trap":
		ok = ok && errors.As(err, &trap) && !errors.As(err, &cpu) && !errors.As(err, &stack)
	case "cpu":
		ok = ok && errors.As(err, &trap) && errors.As(err, &cpu)
	case "stack":
		ok = ok && errors.As(err, &trap) && errors.As(err, &stack)
	case "timeout":
		ok = errors.Is(err, wasm.ErrTimeout)
	case "error":
		ok = ok && !errors.As(err, &load)
	case "answer":
		ok = err == nil && a.status == 200 && a.body.String() == want.text
	default:
		t.Fatalf("nobody knows the outcome %q", want.what)
	}
	if !ok {
		said := ""
		if a != nil {
			said = fmt.Sprintf(", answer %d %.100q", a.status, a.body.String())
		}
		t.Errorf("want %s %q, got error %v%s", want.what, want.text, err, said)
	}
}

// TestHostileBytes loads what no compiler would make.
func TestHostileBytes(t *testing.T) {
	e := openEngine(t)
	for name, c := range hostileBytes() {
		t.Run(name, func(t *testing.T) {
			m, err := e.Compile(t.Context(), c.module)
			if err == nil {
				defer m.Release()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if c.late {
					ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
					defer cancel()
				}
				var p *wasm.Pool
				if p, err = m.Start(ctx, hostileOptions(&countingLog{})); err == nil {
					p.Close()
				}
			}
			switch {
			case c.want == "" && err != nil:
				t.Errorf("it does not start: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// TestFailedStartsLeaveNothing starts what cannot start, often: neither memory of the guests nor addresses of it may stay.
func TestFailedStartsLeaveNothing(t *testing.T) {
	cases := hostileBytes()
	e := openEngine(t)
	for _, name := range []string{"start traps", "data outside", "poll traps"} {
		before := held()
		m, err := e.Compile(t.Context(), cases[name].module)
		if err != nil {
			t.Fatal(err)
		}
		o := hostileOptions(&countingLog{})
		o.Memory = 256 << 20
		for range 100 {
			if _, err := m.Start(t.Context(), o); err == nil {
				t.Fatalf("%s: it starts", name)
			}
		}
		m.Release()
		nothingLeft(t, before)
	}
}

// TestHostileTable keeps the table of outcomes in testdata/hostile/README.md true.
func TestHostileTable(t *testing.T) {
	var rows []string
	sources, _ := filepath.Glob("testdata/hostile/*.c")
	for _, source := range sources {
		o := readOutcome(t, source)
		if o.does == "" {
			t.Errorf("%s does not say in its first line what it does", source)
		}
		what := o.what
		if o.text != "" {
			what += fmt.Sprintf(" `%s`", o.text)
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | %s |", strings.TrimSuffix(filepath.Base(source), ".c"), o.does, what))
	}
	var bytes []string
	for name, c := range hostileBytes() {
		what := "starts"
		switch {
		case c.late:
			what = "late start `" + c.want + "`"
		case c.want != "":
			what = "start `" + c.want + "`"
		}
		bytes = append(bytes, fmt.Sprintf("| %s | %s |", name, what))
	}
	slices.Sort(bytes)
	readme, err := os.ReadFile("testdata/hostile/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{strings.Join(rows, "\n"), strings.Join(bytes, "\n")} {
		if !strings.Contains(string(readme), "|\n"+table+"\n") {
			t.Errorf("testdata/hostile/README.md has another table than\n%s", table)
		}
	}
}
