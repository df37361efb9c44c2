package trace

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/patchbay-run/patchbay/host/internal/config"
)

// The port of OTLP over gRPC, where the endpoint names none.
const grpcPort = "4317"

// A batch that fails for a reason that may pass is sent again, within its time.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 5 * time.Second
)

// newClient makes what uploads batches by the configured protocol, and what frees its connections. Every option is set, so that no
// OTEL_EXPORTER_… variable decides. Nothing goes through a proxy that the environment names.
func newClient(ctx context.Context, c config.Traces) (otlptrace.Client, func(), error) {
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, nil, fmt.Errorf("endpoint: %w", err)
	}
	trust, err := roots(c.CA)
	if err != nil {
		return nil, nil, err
	}
	headers := map[string]string{}
	for name, value := range c.Headers {
		if value != "" {
			headers[name] = value
		}
	}
	if c.Protocol == "grpc" {
		client, closing := overGRPC(c, u, trust, headers)
		return client, closing, client.Start(ctx)
	}
	client, closing := overHTTP(c, u, trust, headers)
	return client, closing, client.Start(ctx)
}

// roots are whom to trust; nil is whom the system trusts.
func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca: %s holds no certificate in PEM form", file)
	}
	return pool, nil
}

func overGRPC(c config.Traces, u *url.URL, trust *x509.CertPool, headers map[string]string) (otlptrace.Client, func()) {
	address := u.Host
	if u.Port() == "" {
		address += ":" + grpcPort
	}
	options := []otlptracegrpc.Option{
		otlptracegrpc.WithEndpoint(address),
		otlptracegrpc.WithHeaders(headers),
		otlptracegrpc.WithTimeout(c.Timeout),
		otlptracegrpc.WithDialOption(grpc.WithNoProxy()),
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{Enabled: true, InitialInterval: firstRetry, MaxInterval: lastRetry, MaxElapsedTime: c.Timeout}),
	}
	if u.Scheme == "https" {
		options = append(options, otlptracegrpc.WithTLSCredentials(credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trust})), otlptracegrpc.WithCompressor("gzip"))
	} else {
		options = append(options, otlptracegrpc.WithTLSCredentials(insecure.NewCredentials()))
	}
	return otlptracegrpc.NewClient(options...), func() {}
}

func overHTTP(c config.Traces, u *url.URL, trust *x509.CertPool, headers map[string]string) (otlptrace.Client, func()) {
	to := *u
	if strings.Trim(to.Path, "/") == "" {
		to.Path = "/v1/traces"
	}
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: trust},
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: c.Timeout,
		IdleConnTimeout:     time.Minute,
		MaxConnsPerHost:     1,
	}
	// A redirect would take the headers along.
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	options := []otlptracehttp.Option{
		otlptracehttp.WithEndpointURL(to.String()),
		otlptracehttp.WithHeaders(headers),
		otlptracehttp.WithTimeout(c.Timeout),
		otlptracehttp.WithHTTPClient(&http.Client{Transport: transport, Timeout: c.Timeout, CheckRedirect: stay}),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: firstRetry, MaxInterval: lastRetry, MaxElapsedTime: c.Timeout}),
	}
	pack := otlptracehttp.NoCompression
	if u.Scheme == "https" { // it leaves this machine
		pack = otlptracehttp.GzipCompression
	}
	options = append(options, otlptracehttp.WithCompression(pack))
	return otlptracehttp.NewClient(options...), transport.CloseIdleConnections
}
