package demo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// What a test may ask of one request, whatever the options say.
const (
	delayHeader  = "X-Demo-Delay"  // a duration such as 300ms, at most maxDelay; instead of Options.Delay
	statusHeader = "X-Demo-Status" // 400 to 599: answer with this error
	cutHeader    = "X-Demo-Cut"    // break a stream off after so many tokens
	maxDelay     = time.Minute
)

// fault is an answer that is an error. The route's dialect gives it its shape.
type fault struct {
	status  int
	message string
}

func (f *fault) Error() string { return f.message }

func faultf(status int, format string, args ...any) *fault {
	return &fault{status, fmt.Sprintf(format, args...)}
}

// errGone says that nobody is left to answer: the client went away, reads no more, or the server stops.
var errGone = errors.New("the client is gone")

// exchange is one request with what its handler needs to answer it.
type exchange struct {
	w       http.ResponseWriter
	r       *http.Request
	body    []byte
	begun   time.Time
	cut     int // tokens after which a stream breaks off; -1 is never
	dialect dialect
}

func (x *exchange) control() *http.ResponseController { return http.NewResponseController(x.w) }

// readBody reads the whole body. net/http watches for the client's leaving only once the body has been read, so this
// comes before anything that takes time.
func (x *exchange) readBody(limit int64) error {
	// A ResponseWriter without deadlines, as in a test without a socket, is fine here and below.
	_ = x.control().SetReadDeadline(time.Now().Add(readBodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, limit))
	_ = x.control().SetReadDeadline(time.Time{})
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return faultf(http.StatusRequestEntityTooLarge, "the request body is over %d bytes", limit)
	case err != nil:
		return faultf(http.StatusBadRequest, "the request body ends too early")
	}
	x.body = body
	return nil
}

// wish reads the test headers: the delay to keep, and the error to answer with, if any.
func (x *exchange) wish(delay time.Duration) (time.Duration, *fault) {
	x.cut = -1
	if v := x.r.Header.Get(delayHeader); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil || d < 0 || d > maxDelay {
			return 0, faultf(http.StatusBadRequest, "%s: %q is not a duration from 0s to %v", delayHeader, v, maxDelay)
		}
		delay = d
	}
	if v := x.r.Header.Get(cutHeader); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return 0, faultf(http.StatusBadRequest, "%s: %q is not a number of tokens", cutHeader, v)
		}
		x.cut = n
	}
	if v := x.r.Header.Get(statusHeader); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 400 || n > 599 {
			return 0, faultf(http.StatusBadRequest, "%s: %q is not a status from 400 to 599", statusHeader, v)
		}
		return delay, faultf(n, "%s asked for this status", statusHeader)
	}
	return delay, nil
}

// wait sleeps for d, or less when the client leaves.
func (x *exchange) wait(d time.Duration) error {
	if d <= 0 {
		return x.gone()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-x.r.Context().Done():
		return errGone
	}
}

// gone is errGone when nobody waits for the answer any more.
func (x *exchange) gone() error {
	if x.r.Context().Err() != nil {
		return errGone
	}
	return nil
}

// reply writes a whole JSON answer.
func (x *exchange) reply(status int, v any) error {
	var b bytes.Buffer
	if err := encode(&b, v); err != nil {
		return err
	}
	return x.send(status, "application/json", b.Bytes())
}

func (x *exchange) send(status int, contentType string, body []byte) error {
	if err := x.gone(); err != nil {
		return err
	}
	h := x.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "1")
	}
	_ = x.control().SetWriteDeadline(time.Now().Add(writeTimeout))
	x.w.WriteHeader(status)
	if _, err := x.w.Write(body); err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return nil
}

// encode writes v as JSON the way the real services do: non-ASCII and < > & stay as they are.
func encode(b *bytes.Buffer, v any) error {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return nil
}

// unmarshal decodes a JSON object and says in one line what is wrong with it.
func unmarshal(body []byte, v any) error {
	err := json.Unmarshal(body, v)
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return faultf(http.StatusBadRequest, "%s: %s is not valid here", wrongType.Field, wrongType.Value)
	case errors.As(err, &wrongType):
		return faultf(http.StatusBadRequest, "the request body must be a JSON object")
	}
	return faultf(http.StatusBadRequest, "the request body is not valid JSON: %v", err)
}
