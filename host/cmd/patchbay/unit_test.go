package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/guesttest"
)

// TestSupervisorsWaitLongEnough: whoever ends the server by force does so after the server's own time-outs.
func TestSupervisorsWaitLongEnough(t *testing.T) {
	for _, c := range []struct{ file, key, settings string }{
		{"docker-compose.yml", `stop_grace_period: (\S+)`, "container.yaml"},
		{filepath.Join("configs", "patchbay.service"), `TimeoutStopSec=(\S+)`, "host.yaml"},
	} {
		settings, err := config.Load(config.Options{File: filepath.Join(guesttest.Root(), "configs", c.settings)})
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(c.key).FindStringSubmatch(read(t, filepath.Join(guesttest.Root(), c.file)))
		if m == nil {
			t.Errorf("%s has no %s", c.file, c.key)
			continue
		}
		// The last is for the feed's clients and the admin listener.
		least := settings.Server.StopDelay + settings.Server.DrainTimeout + settings.Traces.Timeout + 5*time.Second
		if got, err := time.ParseDuration(m[1]); err != nil || got < least {
			t.Errorf("%s waits %s, want at least %v", c.file, m[1], least)
		}
	}
}

// TestUnits has systemd read our examples.
func TestUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	dir := t.TempDir()
	program, err := exec.LookPath("patchbay")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"patchbay.service", "patchbay.socket"} {
		text := strings.ReplaceAll(read(t, filepath.Join(guesttest.Root(), "configs", name)), "/usr/local/bin/patchbay", program)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", filepath.Join(dir, "patchbay.service"), filepath.Join(dir, "patchbay.socket")).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("patchbay")) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
