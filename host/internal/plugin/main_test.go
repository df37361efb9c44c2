package plugin_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/leaktest"
)

func TestMain(m *testing.M) {
	leaktest.MainThen(m, func(code int) {
		if err := warm.close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	})
}
