package capability

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/upstream"
	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// coded maps what an outbound call can give to what the guest is told, without the secrets that were sent.
func coded(err error, masks []*mask) error {
	var already *abi.Error
	if errors.As(err, &already) {
		return already
	}
	out, text := &abi.Error{Code: abi.Reset}, err.Error()
	for _, m := range []struct {
		is   error
		code abi.Code
	}{
		{upstream.ErrUnavailable, abi.Unavailable},
		{upstream.ErrPoolTimeout, abi.Pool},
		{upstream.ErrConnectTimeout, abi.Timeout},
		{upstream.ErrConnect, abi.Connect},
		{upstream.ErrResponseTimeout, abi.Timeout},
		{upstream.ErrChunkTimeout, abi.Timeout},
		{upstream.ErrBlocked, abi.Blocked},
		{upstream.ErrReset, abi.Reset},
		{upstream.ErrProtocol, abi.Reset},
		{context.DeadlineExceeded, abi.Timeout},
		{context.Canceled, abi.Cancelled},
		{io.ErrUnexpectedEOF, abi.Reset},
	} {
		if errors.Is(err, m.is) {
			out.Code = m.code
			break
		}
	}
	var later interface{ RetryAfter() time.Duration }
	if errors.As(err, &later) {
		out.Retry = later.RetryAfter()
	}
	if errors.Is(err, upstream.ErrProtocol) {
		text = unquoted(text)
	}
	for _, m := range masks {
		text = m.text(text)
	}
	out.Text = text
	return out
}

// unquoted leaves out what net/http quotes of an answer that it cannot read: it may be a prompt that was sent back.
func unquoted(text string) string {
	if i := strings.IndexAny(text, "\"`"); i >= 0 {
		text = text[:i] + "…"
	}
	const line = "MIME header line: " // is not quoted
	if i := strings.Index(text, line); i >= 0 {
		text = text[:i+len(line)] + "…"
	}
	return text
}
