package capability

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/patchbay-run/patchbay/sdk/go/abi"
)

// A gzip stream makes a thousand bytes of one at most; text that people send, ten or twenty. The ratio counts from freely on.
const (
	maxRatio = 100
	freely   = 1 << 20 // bytes
)

// body is an answer's body as the guest reads it: unpacked, not over the limit, and without the secrets that were sent.
type body struct {
	io.Reader
	from  io.Closer
	masks []*mask
}

// open makes the body of an answer, and the length that is known of it; -1 is none. The answer's headers lose what is no
// longer true. limit is in bytes, 0 is none.
func open(resp *http.Response, limit int64, setting string, masks []*mask) (*body, int64, error) {
	b := &body{Reader: resp.Body, from: resp.Body, masks: masks}
	length := resp.ContentLength
	if resp.Body == http.NoBody || resp.Request.Method == http.MethodHead {
		return b, 0, nil // what a header says is the length of another answer
	}
	tooLarge := func() error {
		return &abi.Error{Code: abi.TooLarge, Text: fmt.Sprintf("the answer is over %d bytes: raise %s, or ask for less", limit, setting)}
	}
	if limit > 0 && length > limit {
		return nil, 0, tooLarge()
	}
	packed, err := coding(resp.Header)
	if err != nil {
		return nil, 0, err
	}
	if packed {
		b.Reader, length = &unpacked{wire: &wire{Reader: resp.Body}}, -1
		resp.Header.Del("Content-Encoding")
		resp.Header.Del("Content-Length")
	}
	if limit > 0 && length < 0 {
		b.Reader = &bounded{from: b.Reader, left: limit, over: tooLarge}
	}
	for _, m := range masks {
		b.Reader = &masked{from: b.Reader, mask: m}
	}
	return b, length, nil
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = coded(err, b.masks)
	}
	return n, err
}

// Close may be called while a Read waits.
func (b *body) Close() error { return b.from.Close() }

// coding says whether an answer is packed by gzip. The host asks for no other coding.
func coding(h http.Header) (packed bool, err error) {
	switch c := strings.ToLower(strings.TrimSpace(strings.Join(h.Values("Content-Encoding"), ","))); c {
	case "", "identity":
		return false, nil
	case "gzip", "x-gzip":
		return true, nil
	case "br", "zstd", "deflate", "compress":
		return false, &abi.Error{Code: abi.Reset, Text: "the answer has the content coding " + c + ", which nobody asked for: only gzip is unpacked"}
	}
	return false, &abi.Error{Code: abi.Reset, Text: "the answer has a content coding that nobody asked for: only gzip, once, is unpacked"}
}

// bounded ends an answer that is longer than it may be. What comes before is passed on.
type bounded struct {
	from io.Reader
	left int64
	over func() error
}

func (r *bounded) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if int64(n) > r.left {
		return int(r.left), r.over()
	}
	r.left -= int64(n)
	return n, err
}

// unpacked reads gzip. It begins with the first Read, since the answer's head must not wait for its body.
type unpacked struct {
	wire *wire
	gzip *gzip.Reader
	size int64 // of what came out
}

// wire counts the bytes as they were sent.
type wire struct {
	io.Reader
	size int64
	err  error // but the end
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.size += int64(n)
	if err != io.EOF {
		w.err = err
	}
	return n, err
}

func (u *unpacked) Read(p []byte) (n int, err error) {
	if u.gzip == nil {
		u.gzip, err = gzip.NewReader(u.wire)
		if err == io.EOF {
			return 0, io.EOF // an empty body, whatever its headers say
		}
	}
	if err == nil {
		n, err = u.gzip.Read(p)
		u.size += int64(n)
	}
	switch {
	case u.size > freely && u.size/maxRatio > u.wire.size:
		return 0, &abi.Error{Code: abi.TooLarge, Text: fmt.Sprintf("the answer unpacks to over %d times its size: it is refused as a decompression bomb", maxRatio)}
	case err == nil, err == io.EOF:
		return n, err
	case u.wire.err != nil:
		return n, u.wire.err
	}
	return n, &abi.Error{Code: abi.Reset, Text: "the answer is not the gzip that its headers say: " + err.Error()}
}
