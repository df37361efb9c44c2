// Package otlptest is an OTLP receiver inside a test, over gRPC or HTTP. Only tests import it.
package otlptest

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // so that it is understood
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// patience keeps a broken test from hanging.
const patience = 2 * time.Minute

// Receiver takes spans.
type Receiver struct {
	URL string

	refuse atomic.Pointer[string]
	hang   atomic.Bool
	asked  atomic.Int64
	over   chan struct{}

	mu      sync.Mutex // guards what follows
	got     []*Span
	raw     strings.Builder
	headers http.Header
}

// Span is a span as the receiver got it.
type Span struct {
	*spans.Span
	Resource map[string]string
}

// Start serves a protocol, grpc or http/protobuf, until the test ends; with a certificate over TLS.
func Start(t testing.TB, protocol string, cert *tls.Certificate) *Receiver {
	t.Helper()
	r := &Receiver{over: make(chan struct{}), headers: http.Header{}}
	if protocol == "grpc" {
		r.grpc(t, cert)
	} else {
		r.http(t, cert)
	}
	t.Cleanup(func() { close(r.over) }) // before the server is stopped, which waits for its calls
	return r
}

func (r *Receiver) grpc(t testing.TB, cert *tls.Certificate) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.URL = "http://" + l.Addr().String()
	var options []grpc.ServerOption
	if cert != nil {
		r.URL = "https://" + l.Addr().String()
		options = append(options, grpc.Creds(credentials.NewServerTLSFromCert(cert)))
	}
	s := grpc.NewServer(options...)
	collector.RegisterTraceServiceServer(s, service{receiver: r})
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		s.Stop()
		<-done
	})
}

type service struct {
	collector.UnimplementedTraceServiceServer
	receiver *Receiver
}

// Export implements collector.TraceServiceServer.
func (s service) Export(ctx context.Context, in *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	headers := http.Header{}
	md, _ := metadata.FromIncomingContext(ctx)
	for name, values := range md {
		headers[http.CanonicalHeaderKey(name)] = values
	}
	if why := s.receiver.take(ctx, headers, in); why != "" {
		return nil, status.Error(codes.Unauthenticated, why)
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func (r *Receiver) http(t testing.TB, cert *tls.Certificate) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		in := &collector.ExportTraceServiceRequest{}
		body := io.Reader(req.Body)
		if req.Header.Get("Content-Encoding") == "gzip" {
			unpacked, err := gzip.NewReader(req.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			body = unpacked
		}
		b, err := io.ReadAll(body)
		if err == nil {
			err = proto.Unmarshal(b, in)
		}
		if err != nil || req.URL.Path != "/v1/traces" {
			http.Error(w, fmt.Sprint(req.URL.Path, err), http.StatusBadRequest)
			return
		}
		if why := r.take(req.Context(), req.Header, in); why != "" {
			http.Error(w, why, http.StatusUnauthorized)
			return
		}
		b, _ = proto.Marshal(&collector.ExportTraceServiceResponse{})
		w.Header().Set("Content-Type", "application/x-protobuf")
		_, _ = w.Write(b)
	}))
	if cert != nil {
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12}
		s.StartTLS()
	} else {
		s.Start()
	}
	r.URL = s.URL
	t.Cleanup(s.Close)
}

// take keeps what came, or says why it does not.
func (r *Receiver) take(ctx context.Context, h http.Header, in *collector.ExportTraceServiceRequest) string {
	r.asked.Add(1)
	if r.hang.Load() {
		select {
		case <-ctx.Done():
		case <-r.over:
		}
		return "it hung"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.headers = h
	if why := r.refuse.Load(); why != nil {
		return *why
	}
	fmt.Fprintln(&r.raw, in)
	for _, rs := range in.GetResourceSpans() {
		about := texts(rs.GetResource().GetAttributes())
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				r.got = append(r.got, &Span{s, about})
			}
		}
	}
	return ""
}

// Refuse has everything answered as unauthorized, for the reason why.
func (r *Receiver) Refuse(why string) { r.refuse.Store(&why) }

// Hang has nothing answered.
func (r *Receiver) Hang() { r.hang.Store(true) }

// Asked counts the batches that came, taken or not.
func (r *Receiver) Asked() int { return int(r.asked.Load()) }

// Spans are those that came so far.
func (r *Receiver) Spans() []*Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// Header is of the last batch.
func (r *Receiver) Header(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.headers.Get(name)
}

// Text is all that came, for who looks for a word in it.
func (r *Receiver) Text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.raw.String()
}

// Wait waits for n spans and returns all that came.
func (r *Receiver) Wait(t testing.TB, n int) []*Span {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if all := r.Spans(); len(all) >= n {
			return all
		}
		if time.Now().After(end) {
			t.Fatalf("%d spans did not come within %v, only %v", n, patience, Names(r.Spans()))
		}
	}
}

// Find is the span of that name; the test fails unless there is one.
func Find(t testing.TB, all []*Span, name string) *Span {
	t.Helper()
	var found []*Span
	for _, s := range all {
		if s.GetName() == name {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("there are %d spans %q in %v", len(found), name, Names(all))
	}
	return found[0]
}

// Names are the names of spans.
func Names(all []*Span) (names []string) {
	for _, s := range all {
		names = append(names, s.GetName())
	}
	return names
}

// Attribute is the value of an attribute as text, "" when there is none.
func (s *Span) Attribute(name string) string { return texts(s.GetAttributes())[name] }

// Trace is the id of the span's trace in hexadecimal, ID its own, and Parent that of the span above.
func (s *Span) Trace() string { return fmt.Sprintf("%x", s.GetTraceId()) }

// ID is the span's own.
func (s *Span) ID() string { return fmt.Sprintf("%x", s.GetSpanId()) }

// Parent is the id of the span above, "" of a root.
func (s *Span) Parent() string { return fmt.Sprintf("%x", s.GetParentSpanId()) }

func texts(list []*common.KeyValue) map[string]string {
	out := map[string]string{}
	for _, kv := range list {
		out[kv.GetKey()] = text(kv.GetValue())
	}
	return out
}

func text(v *common.AnyValue) string {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_IntValue:
		return fmt.Sprint(v.IntValue)
	case *common.AnyValue_DoubleValue:
		return fmt.Sprint(v.DoubleValue)
	case *common.AnyValue_BoolValue:
		return fmt.Sprint(v.BoolValue)
	case *common.AnyValue_ArrayValue:
		var all []string
		for _, one := range v.ArrayValue.GetValues() {
			all = append(all, text(one))
		}
		return strings.Join(all, ",")
	}
	return ""
}
