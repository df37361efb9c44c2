package plugin_test

import (
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.MainThen(m, warm.close) }
