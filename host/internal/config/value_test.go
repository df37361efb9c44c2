package config_test

import (
	"math"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]config.Bytes{
		"0":                   0,
		"1":                   1,
		"1B":                  1,
		"67108864":            64 * config.MiB,
		"8KiB":                8192,
		"64MiB":               64 * config.MiB,
		"64 MiB":              64 * config.MiB,
		"1GiB":                config.GiB,
		"2TiB":                2 * config.TiB,
		"3kB":                 3000,
		"3MB":                 3_000_000,
		"3GB":                 3_000_000_000,
		"9223372036854775807": math.MaxInt64,
		"8388607TiB":          8388607 * config.TiB,
	} {
		got, err := config.ParseBytes(text)
		if err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5GiB", "64mb", "64M", "64  MiB", " 64MiB", "64MiB ", "9223372036854775808", "8388608TiB", "0x10", "1_000", "٣"} {
		if got, err := config.ParseBytes(text); err == nil {
			t.Errorf("ParseBytes(%q) = %d; want an error", text, got)
		}
	}
}

func TestBytesText(t *testing.T) {
	for size, want := range map[config.Bytes]string{
		0: "0", 1: "1", 1000: "1000", 1023: "1023", 1024: "1KiB", 1536: "1536", -1: "-1",
		64 * config.MiB: "64MiB", 1025 * config.MiB: "1025MiB", config.TiB: "1TiB", 1024 * config.TiB: "1024TiB",
		math.MaxInt64: "9223372036854775807",
	} {
		text, err := size.MarshalText()
		if string(text) != want || err != nil || size.String() != want {
			t.Errorf("MarshalText(%d) = %s, %v; want %s", int64(size), text, err, want)
		}
		var back config.Bytes
		if err := back.UnmarshalText(text); size >= 0 && (err != nil || back != size) {
			t.Errorf("%s came back as %d, %v", text, back, err)
		}
	}
}

func TestWorkersText(t *testing.T) {
	for workers, want := range map[config.Workers]string{config.Auto: "auto", 1: "1", 1024: "1024"} {
		text, err := workers.MarshalText()
		if string(text) != want || err != nil {
			t.Errorf("MarshalText(%d) = %s, %v; want %s", int(workers), text, err, want)
		}
		var back config.Workers
		if err := back.UnmarshalText(text); err != nil || back != workers {
			t.Errorf("%s came back as %d, %v", text, back, err)
		}
	}
	for _, text := range []string{"", "-1", "Auto", "1.5", "99999999999"} {
		if got, err := config.ParseWorkers(text); err == nil {
			t.Errorf("ParseWorkers(%q) = %d; want an error", text, got)
		}
	}
}
