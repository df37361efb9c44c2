package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size in bytes, written as 64MiB, 8KiB, 1GiB or a plain number.
type Bytes int64

// The units of a size, so that code can say 64*config.MiB.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
	TiB Bytes = 1 << 40
)

// byteUnits lists the binary units from the largest down, then the decimal ones.
func byteUnits() []struct {
	name string
	size Bytes
} {
	return []struct {
		name string
		size Bytes
	}{
		{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB},
		{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
	}
}

// ParseBytes reads a size: a whole number and one of KiB, MiB, GiB, TiB, kB, MB, GB, TB, B or nothing.
func ParseBytes(s string) (Bytes, error) {
	digits := s
	if end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		digits = s[:end]
	}
	if digits == "" {
		return 0, errors.New("want a size such as 64MiB")
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0, errors.New("the size is too large")
	}
	unit := strings.TrimPrefix(s[len(digits):], " ")
	if unit == "" {
		return Bytes(n), nil
	}
	for _, u := range byteUnits() {
		if u.name != unit {
			continue
		}
		if n > math.MaxInt64/int64(u.size) {
			return 0, errors.New("the size is too large")
		}
		return Bytes(n) * u.size, nil
	}
	return 0, errors.New("want a size such as 64MiB: a whole number and KiB, MiB, GiB, TiB, or kB, MB, GB, TB")
}

// String writes the size with the largest binary unit that divides it, as ParseBytes reads it.
func (b Bytes) String() string {
	for _, u := range byteUnits() {
		if u.size >= KiB && strings.HasSuffix(u.name, "iB") && b > 0 && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText is String.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText is ParseBytes.
func (b *Bytes) UnmarshalText(text []byte) error {
	n, err := ParseBytes(string(text))
	if err != nil {
		return err
	}
	*b = n
	return nil
}

// Workers is how many instances of a plugin may run; Auto is one per CPU.
type Workers int

// Auto stands for one worker per CPU; the file says auto.
const Auto Workers = -1

// ParseWorkers reads a whole number or auto.
func ParseWorkers(s string) (Workers, error) {
	if s == "auto" {
		return Auto, nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, errors.New("want a whole number or auto")
	}
	return Workers(n), nil
}

// String writes the number, or auto.
func (w Workers) String() string {
	if w == Auto {
		return "auto"
	}
	return strconv.Itoa(int(w))
}

// MarshalText is String.
func (w Workers) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText is ParseWorkers.
func (w *Workers) UnmarshalText(text []byte) error {
	n, err := ParseWorkers(string(text))
	if err != nil {
		return err
	}
	*w = n
	return nil
}

// parseDuration is time.ParseDuration, apart from the bare 0 that it lets pass.
func parseDuration(s string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return 0, errors.New("want a duration: add a unit, as in 30s")
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errors.New("want a duration such as 30s, 500ms or 10m")
	}
	return d, nil
}

// formatDuration writes 10m where time.Duration says 10m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
