package leaktest

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// tests are such as leave a goroutine behind.
type tests struct {
	leave func()
	code  int
}

func (s tests) Run() int {
	if s.leave != nil {
		go s.leave()
	}
	return s.code
}

// TestMainThen: a goroutine may take its time to end; one that stays fails the tests, and failed tests have failed.
func TestMainThen(t *testing.T) {
	stop := make(chan struct{})
	defer close(stop)
	for name, c := range map[string]struct {
		tests tests
		want  int
	}{
		"nothing":       {tests{}, 0},
		"a late end":    {tests{leave: func() { time.Sleep(time.Second) }}, 0}, // goleak alone waits for half as long
		"failed before": {tests{code: 2}, 2},
	} {
		got := -1
		MainThen(c.tests, func(code int) { got = code })
		if got != c.want {
			t.Errorf("%s: exit code %d, want %d", name, got, c.want)
		}
	}
	got := -1
	goleak.VerifyTestMain(patient{tests{leave: func() { <-stop }}, time.Millisecond}, goleak.Cleanup(func(code int) { got = code }))
	if got != 1 {
		t.Errorf("a goroutine stays: exit code %d, want 1", got)
	}
}
