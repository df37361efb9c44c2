package plugin

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
	"github.com/patchbay-run/patchbay/sdk/go/internal/bridge"
)

// logHandler sends lines to the host: the message, then attributes as its fields; see abi.ParseLog. Time, plugin and request are the
// host's to add.
type logHandler struct {
	host    bridge.Host
	request uint64
	attrs   []byte // of With: members of a JSON object
	prefix  string // of WithGroup
}

// Enabled says yes: what is wanted is the host's to decide.
func (h *logHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	members := slices.Clip(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		members = appendAttr(members, h.prefix, a)
		return true
	})
	text := r.Message
	if len(members) > 0 {
		text += string(abi.LogMark) + "{" + string(members) + "}"
	} else if strings.ContainsRune(text, abi.LogMark) {
		text += string(abi.LogMark) + "{}" // so that the end of the message is not taken for fields
	}
	h.host.Log(h.request, int32(r.Level), text)
	return nil
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.attrs = slices.Clone(h.attrs)
	for _, a := range attrs {
		with.attrs = appendAttr(with.attrs, h.prefix, a)
	}
	return &with
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.prefix += name + "."
	return &with
}

// appendAttr adds an attribute as a member of a JSON object: a number or a bool as such, all else as text.
func appendAttr(b []byte, prefix string, a slog.Attr) []byte {
	v := a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return b
	}
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range v.Group() {
			b = appendAttr(b, prefix, inner)
		}
		return b
	}
	if len(b) > 0 {
		b = append(b, ',')
	}
	b = append(appendText(b, prefix+a.Key), ':')
	switch v.Kind() {
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case slog.KindUint64:
		return strconv.AppendUint(b, v.Uint64(), 10)
	case slog.KindBool:
		return strconv.AppendBool(b, v.Bool())
	case slog.KindFloat64:
		if f := v.Float64(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return strconv.AppendFloat(b, f, 'g', -1, 64)
		}
	case slog.KindTime:
		return appendText(b, v.Time().Format(time.RFC3339Nano))
	}
	text := v.String()
	return appendText(b, text[:min(len(text), abi.MaxLogValue+1)]) // more is not kept, and would push later fields out of the line
}

func appendText(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil { // a text always encodes
		return append(b, `""`...)
	}
	return append(b, text...)
}
