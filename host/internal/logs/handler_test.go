package logs

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/slogtest"
	"time"
)

// peers are our handler and slog's own, writing to a and b.
func peers(format string, a, b *bytes.Buffer) (ours, theirs slog.Handler) {
	ours = newHandler(a, format, slog.LevelDebug)
	if format == "json" {
		return ours, slog.NewJSONHandler(b, options(format, slog.LevelDebug))
	}
	return ours, slog.NewTextHandler(b, options(format, slog.LevelDebug))
}

// same wants both to write the same, byte for byte.
func same(t *testing.T, r slog.Record, with ...slog.Attr) {
	t.Helper()
	for _, format := range []string{"text", "json"} {
		var a, b bytes.Buffer
		ours, theirs := peers(format, &a, &b)
		if len(with) > 0 {
			ours, theirs = ours.WithAttrs(with), theirs.WithAttrs(with)
		}
		errA, errB := ours.Handle(t.Context(), r), theirs.Handle(t.Context(), r)
		if a.String() != b.String() || (errA == nil) != (errB == nil) {
			t.Errorf("%s:\n%s%vwant\n%s%v", format, a.String(), errA, b.String(), errB)
		}
	}
}

// A number of nanoseconds does not say what it is.
func TestDurationsHaveTheirUnit(t *testing.T) {
	for format, want := range map[string]string{"text": " d=1.5s g.d=2s\n", "json": `,"d":"1.5s","g":{"d":"2s"}}` + "\n"} {
		var b bytes.Buffer
		slog.New(newHandler(&b, format, slog.LevelDebug)).Info("m", "d", 1500*time.Millisecond, slog.Group("g", "d", 2*time.Second))
		if !strings.HasSuffix(b.String(), want) {
			t.Errorf("%s: %s", format, b.String())
		}
	}
}

func TestHandlerWritesWhatSlogWould(t *testing.T) {
	now := time.Date(2026, 11, 23, 19, 30, 0, 123456789, time.UTC)
	texts := []string{"", "a", "GET /api/{id}", "a=b", `a"b`, `a\b`, "a\nb", "\x1b[31m", "é", "\xff", "<&>", "\u2028", "a b", "'", "\x7f", "~"}
	for _, at := range []time.Time{now, now.Truncate(time.Second), {}, now.In(time.FixedZone("x", -5400)), now.AddDate(9000, 0, 0), time.Now()} {
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelError, 2, -10} {
			same(t, slog.NewRecord(at, level, "request", 0))
		}
	}
	for _, text := range texts {
		same(t, slog.NewRecord(now, 0, text, 0))
		for _, a := range []slog.Attr{slog.String("k", text), slog.String(text, "v"), slog.Int(text, 1), slog.Any("k", text), slog.Group(text, "k", text), slog.Group("g", text, text)} {
			r := slog.NewRecord(now, 0, "m", 0)
			r.AddAttrs(slog.Int("first", 1), a, slog.Int("last", -1))
			same(t, r)
			same(t, r, slog.String("with", text))
		}
	}
	for _, f := range []float64{0, 1, -1, 0.5, 12.345, 1e-3, 0.01, 0.1, 0.12, 0.999, 1.001, 20.01, 999999.999, 1e-4, 1e-5, 1e-7, 123456.789, 1e6, 1234567, 1e15, 1e20, 1e21, 1e22, math.MaxFloat64, math.NaN(), math.Inf(1), math.Copysign(0, -1)} {
		r := slog.NewRecord(now, 0, "m", 0)
		r.AddAttrs(slog.Float64("f", f))
		same(t, r)
	}
	r := slog.NewRecord(now, 0, "m", 0)
	r.AddAttrs(slog.Attr{}, slog.Attr{Value: slog.GroupValue(slog.Int("a", 1), slog.String("b", "c"), slog.Attr{Value: slog.GroupValue(slog.Int("d", 1))})},
		slog.Duration("d", time.Second), slog.Time("t", now), slog.Bool("b", true), slog.Any("n", nil), slog.Any("e", error(nil)), slog.Group("empty"))
	same(t, r)
}

// TestEachByteAtEachPlace: texts are looked at in words of eight bytes.
func TestEachByteAtEachPlace(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	for c := range 256 {
		for i := range 18 {
			text := []byte(strings.Repeat("~", 18))
			text[i] = byte(c)
			r := slog.NewRecord(at, 0, "m", 0)
			r.AddAttrs(slog.String("k", string(text)))
			same(t, r)
		}
	}
}

// TestTimesOfOneHandler: what lines of a second have in common is kept for the next one, which may be of another second, zone or century.
func TestTimesOfOneHandler(t *testing.T) {
	now := time.Date(2026, 11, 23, 19, 30, 0, 0, time.UTC)
	for _, format := range []string{"text", "json"} {
		var a, b bytes.Buffer
		ours, theirs := peers(format, &a, &b)
		for range 3 {
			for _, at := range []time.Time{
				now, now.Add(1), now.Add(10), now.Add(120 * time.Millisecond), now.Add(999_999_999), now.Add(time.Second), now.In(time.FixedZone("x", 3600)), now.In(time.FixedZone("x", -5400)),
				now.AddDate(9000, 0, 0), now.AddDate(-2030, 0, 0), time.Unix(0, 0), time.Unix(0, 0).UTC(), time.Unix(-1, 5), now, time.Now(),
			} {
				r := slog.NewRecord(at, 0, "m", 0)
				_, _ = ours.Handle(t.Context(), r), theirs.Handle(t.Context(), r)
				if a.String() != b.String() {
					t.Fatalf("%s, %v:\n%swant\n%s", format, at, a.String(), b.String())
				}
				a.Reset()
				b.Reset()
			}
		}
	}
}

func FuzzHandlerWritesWhatSlogWould(f *testing.F) {
	f.Add("request", "route", "GET /api/{id}", 1.5, int64(200))
	f.Add("", "", "\x1b[31m\n", 1e21, int64(-1))
	f.Fuzz(func(t *testing.T, message, key, text string, number float64, whole int64) {
		r := slog.NewRecord(time.Unix(1_700_000_000, whole%1e9), slog.Level(whole%20), message, 0)
		r.AddAttrs(slog.Attr{Value: slog.GroupValue(slog.String(key, text), slog.Float64("f", number), slog.Int64("i", whole))})
		same(t, r)
	})
}

func TestHandlerIsOneOfSlogs(t *testing.T) {
	var b bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		b.Reset()
		return newHandler(&b, "json", slog.LevelDebug)
	}, func(t *testing.T) map[string]any {
		var m map[string]any
		if err := json.Unmarshal(b.Bytes(), &m); err != nil {
			t.Fatal(err)
		}
		return m
	})
}

// BenchmarkHandler is an access line, in our handler and in slog's.
func BenchmarkHandler(b *testing.B) {
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		ours, theirs := peers(format, &out, &out)
		for name, h := range map[string]slog.Handler{"ours": ours, "slog": theirs} {
			b.Run(format+"/"+name, func(b *testing.B) {
				attrs := []slog.Attr{
					slog.String("id", strings.Repeat("A", 24)), slog.String("method", "POST"), slog.String("route", "POST /api/inference/infer"), slog.Int("status", 200),
					slog.Int("bytes_in", 100), slog.Int("bytes_out", 1000), slog.Float64("duration_ms", 21.234), slog.Float64("first_byte_ms", 20.001),
					slog.Float64("upstream_ms", 19.5), slog.String("plugin", "inference"), slog.String("version", "1.0.0"), slog.String("left", "server"),
				}
				b.ReportAllocs()
				for b.Loop() {
					out.Reset()
					r := slog.NewRecord(time.Now(), 0, "request", 0)
					r.AddAttrs(slog.Attr{Value: slog.GroupValue(attrs...)})
					_ = h.Handle(b.Context(), r)
				}
			})
		}
	}
}
