// Package logs carries log lines to where they are read, as text or JSON, without ever making whoever logs wait: a terminal that
// was stopped, a pipe that nobody empties or a full disk costs lines, which are counted, and no request its time.
//
// It decides nothing about what is logged, and keeps no files: that is the business of whatever started the server.
package logs

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// farewell is how long Close waits for lines that still have to be written.
const farewell = time.Second

// Log is a logger and where it writes. Make it with New; whoever did calls Close.
type Log struct {
	*slog.Logger
	level  slog.LevelVar
	writer *writer
}

// New starts writing to out, which it does not close. The configuration must be complete, as config.Load returns it.
func New(out io.Writer, c config.Log) *Log {
	l := &Log{}
	l.SetLevel(c.Level)
	l.writer = newWriter(out, int(c.Buffer), func(lines int64) []byte { return lost(c.Format, lines) })
	l.Logger = slog.New(newHandler(l.writer, c.Format, &l.level))
	return l
}

// lost is the line that stands where others are missing. It is written at any level.
func lost(format string, lines int64) []byte {
	var b bytes.Buffer
	r := slog.NewRecord(time.Now(), slog.LevelWarn, "log lines are missing here: they were not read as fast as they were written", 0)
	r.AddAttrs(slog.Int64("lines", lines))
	_ = newHandler(&b, format, slog.LevelDebug).Handle(context.Background(), r) // a buffer takes everything
	return b.Bytes()
}

// SetLevel says from now on which lines are written: debug, info, warn or error. Anything else changes nothing.
func (l *Log) SetLevel(name string) {
	var level slog.Level
	if level.UnmarshalText([]byte(name)) == nil {
		l.level.Set(level)
	}
}

// Dropped is how many lines were lost since New.
func (l *Log) Dropped() int64 { return l.writer.dropped.Load() }

// Close writes what is left, for a second at most: whoever reads may have stopped. Lines that come later are lost.
func (l *Log) Close() { l.writer.close(farewell) }
