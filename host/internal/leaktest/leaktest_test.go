package leaktest

import (
	"errors"
	"testing"
	"time"
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
		last  error
		want  int
	}{
		"nothing":       {tests{}, nil, 0},
		"a late end":    {tests{leave: func() { time.Sleep(time.Second) }}, nil, 0}, // goleak alone waits for half as long
		"failed before": {tests{code: 2}, nil, 2},
		"failed last":   {tests{}, errors.New("it has not closed"), 1},
	} {
		got := -1
		then(patient{c.tests, patience}, func() error { return c.last }, func(code int) { got = code })
		if got != c.want {
			t.Errorf("%s: exit code %d, want %d", name, got, c.want)
		}
	}
	got := -1
	then(patient{tests{leave: func() { <-stop }}, time.Millisecond}, func() error { return nil }, func(code int) { got = code })
	if got != 1 {
		t.Errorf("a goroutine stays: exit code %d, want 1", got)
	}
}
