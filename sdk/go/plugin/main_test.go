package plugin_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails when a goroutine of the module outlives the tests.
func TestMain(m *testing.M) {
	code := m.Run()
	if left := leaked(); code == 0 && left != "" {
		fmt.Fprintln(os.Stderr, "goroutines that outlive the tests:\n"+left)
		code = 1
	}
	os.Exit(code)
}

// leaked is the stacks that name this module's code, once they had time to end.
func leaked() (left string) {
	for range 3000 {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		left = ""
		for _, s := range strings.Split(string(stacks), "\n\n")[1:] { // the first is this one
			if strings.Contains(s, "patchbay/sdk/go") || strings.Contains(s, "net/http") {
				left += s + "\n\n"
			}
		}
		if left == "" {
			return ""
		}
		time.Sleep(10 * time.Millisecond)
	}
	return left
}
