package logs_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/leaktest"
	"github.com/patchbay-run/patchbay/host/internal/logs"
	"github.com/patchbay-run/patchbay/host/internal/logtest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func settings(format string) config.Log {
	return config.Log{Level: "info", Format: format, Buffer: 64 * config.KiB}
}

// reader takes what is logged, and may be told to take nothing for a while, or to refuse it.
type reader struct {
	logtest.Buffer
	mu      sync.Mutex // held while nothing is taken
	refuse  bool       // guarded by mu
	waiting chan struct{}
}

func (r *reader) Write(p []byte) (int, error) {
	select {
	case r.waiting <- struct{}{}:
	default:
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse {
		return 0, errors.New("the disk is full")
	}
	return r.Buffer.Write(p)
}

// count tells lines that were logged from lines that speak of lost ones, and adds up what those say.
func count(t *testing.T, text string) (lines, lost int64) {
	t.Helper()
	for line := range strings.Lines(text) {
		var l struct {
			Msg   string
			Lines int64
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q is no line: %v", line, err)
		}
		if strings.HasPrefix(l.Msg, "log lines are missing") {
			lost += l.Lines
		} else {
			lines++
		}
	}
	return lines, lost
}

func TestEveryLineArrives(t *testing.T) { synctest.Test(t, testEveryLineArrives) } // so that the second that Close waits is never over before the work

func testEveryLineArrives(t *testing.T) {
	var r reader
	l := logs.New(&r, settings("json"))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 20 { // together far less than the buffer
				l.Info("hello", "i", i)
			}
		})
	}
	all.Wait()
	l.Close()
	if lines, lost := count(t, r.String()); lines != 160 || lost != 0 || l.Dropped() != 0 {
		t.Errorf("%d lines arrived, %d are said to be lost, %d counted; want 160, 0, 0", lines, lost, l.Dropped())
	}
}

// TestReaderThatHangs is a terminal that was stopped with Ctrl-S, or a pipe to a program that does not read.
func TestReaderThatHangs(t *testing.T) {
	const n = 5000 // far more than the buffer holds
	r := reader{waiting: make(chan struct{}, 1)}
	r.mu.Lock()
	l := logs.New(&r, settings("json"))
	l.Info("the first")
	<-r.waiting // it hangs within a write
	began := time.Now()
	for i := range n {
		l.Info("hello", "i", i)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("whoever logs waited: %v", took)
	}
	dropped := l.Dropped()
	if dropped == 0 || dropped == n {
		t.Errorf("%d of %d lines were dropped", dropped, n)
	}
	r.mu.Unlock()
	for end := time.Now().Add(time.Minute); !strings.Contains(r.String(), "missing"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no line speaks of the lost ones, though it is read again")
		}
	}
	l.Info("it goes on")
	for range 30 { // each waits for a second at most
		l.Close()
	}
	lines, lost := count(t, r.String())
	if lost != dropped || lines != n+2-dropped {
		t.Errorf("%d lines arrived and %d are said to be lost; want %d and %d", lines, lost, n+2-dropped, dropped)
	}
	if text := r.String(); !strings.Contains(text[strings.Index(text, "missing"):], "it goes on") {
		t.Error("the line of the lost ones is not where they are missing")
	}
}

func TestReaderThatRefuses(t *testing.T) {
	var r reader
	r.refuse = true
	l := logs.New(&r, settings("json"))
	for i := range 3 {
		l.Info("hello", "i", i)
		for end := time.Now().Add(time.Minute); l.Dropped() < int64(i)+1; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d lines are counted as dropped, want %d", l.Dropped(), i+1)
			}
		}
	}
	r.mu.Lock()
	r.refuse = false
	r.mu.Unlock()
	l.Info("hello again")
	for range 30 { // each waits for a second at most
		l.Close()
	}
	if lines, lost := count(t, r.String()); lines != 1 || lost != 3 {
		t.Errorf("%d lines arrived, %d are said to be lost; want 1 and 3", lines, lost)
	}
}

func TestCloseDoesNotWaitForAReaderThatHangs(t *testing.T) {
	r := reader{waiting: make(chan struct{}, 1)}
	r.mu.Lock()
	l := logs.New(&r, settings("text"))
	l.Info("hello")
	<-r.waiting
	began := time.Now()
	l.Close()
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %v", took)
	}
	r.mu.Unlock()
	l.Close() // waits for the rest
}

func TestLevelChangesWhileItRuns(t *testing.T) { synctest.Test(t, testLevelChangesWhileItRuns) } // so that the second that Close waits is never over before the work

func testLevelChangesWhileItRuns(t *testing.T) {
	var r reader
	l := logs.New(&r, settings("text"))
	for _, step := range []struct{ level, want string }{{"", "info warn"}, {"debug", "debug info warn"}, {"error", ""}, {"nonsense", ""}, {"warn", "warn"}} {
		l.SetLevel(step.level)
		l.Debug("debug")
		l.Info("info")
		l.Warn("warn")
		l.Error(fmt.Sprintf("step %q %s", step.level, step.want))
	}
	l.Close()
	var got []string
	for line := range strings.Lines(r.String()) {
		if _, text, ok := strings.Cut(strings.TrimSpace(line), "msg="); ok {
			if whole, err := strconv.Unquote(text); err == nil {
				_, want, _ := strings.Cut(whole[len("step "):], " ")
				if seen := strings.Join(got, " "); seen != want {
					t.Errorf("%s: written were %q", whole, seen)
				}
				got = nil
				continue
			}
			got = append(got, text)
		}
	}
}

// TestForeignTextStaysInItsLine: what a guest or an upstream says may hold anything.
func TestForeignTextStaysInItsLine(t *testing.T) { synctest.Test(t, testForeignTextStaysInItsLine) } // so that the second that Close waits is never over before the work

func testForeignTextStaysInItsLine(t *testing.T) {
	const foreign = "harmless\nlevel=ERROR msg=\"the database is gone\" plugin=search\r\x1b[2K\x1b[31mred\x00\u202e\u0085end \xff"
	for _, format := range []string{"text", "json"} {
		var r reader
		l := logs.New(&r, settings(format))
		l.Info(foreign, "plugin", "evil", "text", foreign)
		l.Close()
		text := r.String()
		if strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") {
			t.Errorf("%s: it is more than one line: %q", format, text)
		}
		if bytes.ContainsAny([]byte(text[:len(text)-1]), "\r\x1b\x00\n") {
			t.Errorf("%s: it holds control characters: %q", format, text)
		}
	}
}

// BenchmarkWrite is what whoever logs pays for a line of the usual length, formatting left out.
func BenchmarkWrite(b *testing.B) {
	var r reader
	l := logs.New(&r.Buffer, config.Log{Level: "info", Format: "text", Buffer: config.MiB})
	defer l.Close()
	b.ReportAllocs()
	for b.Loop() {
		l.Info("hello")
	}
}
