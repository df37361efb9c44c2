package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

// refused is the answer to a client for an answer that is no success. It reads and closes the reply.
func refused(reply *plugin.Reply) *plugin.Error {
	e := plugin.UpstreamError(reply)
	e.Err = fmt.Errorf("the upstream answered %d", reply.Status)
	return e
}

// failureIn is the failure that a document {"error": …} tells of, such as the first event of a stream that never began; nil when it tells of none.
// Its code is a status in the words of the one who sent it, and goes by the same table as a status.
func failureIn(document []byte) *plugin.Error {
	if !bytes.Contains(document, []byte(`"error"`)) { // nearly always, and decoding is the dearest part of a chat
		return nil
	}
	var d struct {
		Error json.RawMessage `json:"error"`
	}
	err := json.Unmarshal(document, &d)
	if none := err != nil || len(d.Error) == 0 || string(d.Error) == "null"; none {
		return nil
	}
	var inner struct {
		Code json.RawMessage `json:"code"` // a number, or a word for programs
	}
	_ = json.Unmarshal(d.Error, &inner) // a text has no code
	code, err := strconv.Atoi(string(inner.Code))
	if err != nil || code < 400 || code > 599 {
		code = 500
	}
	return refused(&plugin.Reply{Status: code, Body: body(document)})
}

// refuse answers with e. It writes the answer itself, since an error that a handler returns is logged with its detail, and an
// upstream's message may quote the prompt.
func refuse(w *plugin.Response, r *plugin.Request, e *plugin.Error) error {
	r.Log().Warn("the upstream refused", "status", e.Status, "cause", e.Err.Error())
	if e.RetryAfter > 0 {
		seconds := int64((e.RetryAfter + time.Second - 1) / time.Second)
		w.Header().Set("retry-after", strconv.FormatInt(seconds, 10))
	}
	return w.JSON(e.Status, map[string]string{"detail": e.Detail})
}
