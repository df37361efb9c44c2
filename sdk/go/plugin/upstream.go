package plugin

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// maxErrorBody is how much of an upstream's error is read, maxDetail how much of its message goes on.
const (
	maxErrorBody = 64 << 10
	maxDetail    = 2000
)

// UpstreamError is the answer to a client for a reply that is no success. What the client can act on (400, 404, 409, 413, 422, 429, 503)
// passes with the upstream's own message and Retry-After; the rest, our own key among it, is 502. It reads up to 64 KiB of the body, and closes it.
func UpstreamError(r *Reply) *Error {
	b, _ := io.ReadAll(io.LimitReader(r.Body, maxErrorBody))
	r.Body.Close()
	message := upstreamMessage(b)
	cause := fmt.Errorf("the upstream answered %d", r.Status) // causes are logged, and the message may quote a key or a prompt
	switch r.Status {
	case 400, 404, 409, 413, 422, 429, 503:
		if message == "" {
			message = fmt.Sprintf("The upstream answered with status %d.", r.Status)
		}
		return &Error{Status: r.Status, Detail: message, RetryAfter: r.RetryAfter(), Err: cause}
	case 401, 403:
		return &Error{Status: 502, Detail: "The upstream refused the server's key.", Err: cause}
	}
	return &Error{Status: 502, Detail: fmt.Sprintf("The upstream failed with status %d.", r.Status), Err: cause}
}

// upstreamMessage finds the message in the shapes in use: {"error":{"message"}}, {"error":"…"}, {"detail":{"error"}}, {"detail":"…"}, {"message":"…"}.
func upstreamMessage(b []byte) string {
	var body struct{ Error, Detail, Message json.RawMessage }
	if json.Unmarshal(b, &body) != nil {
		return ""
	}
	for _, raw := range []json.RawMessage{body.Error, body.Detail, body.Message} {
		var text string
		var inner struct{ Message, Error string }
		if json.Unmarshal(raw, &text) != nil && json.Unmarshal(raw, &inner) == nil {
			if text = inner.Message; text == "" {
				text = inner.Error
			}
		}
		if text = strings.TrimSpace(text); text != "" {
			if len(text) > maxDetail {
				text = strings.ToValidUTF8(text[:maxDetail], "") + "…"
			}
			return text
		}
	}
	return ""
}

// RetryAfter is how long the reply's header of that name asks to wait, in seconds or until a date. It is 0 when it does neither, and for a
// date in the past.
func (r *Reply) RetryAfter() time.Duration {
	value := r.Header.Get("retry-after")
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if at, err := time.Parse("Mon, 02 Jan 2006 15:04:05 GMT", value); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
