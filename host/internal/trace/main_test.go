package trace_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/leaktest"
	"github.com/patchbay-run/patchbay/host/internal/logtest"
	"github.com/patchbay-run/patchbay/host/internal/telemetry"
	"github.com/patchbay-run/patchbay/host/internal/trace"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// settings are the defaults with an endpoint and changes.
func settings(endpoint string, change func(*config.Traces)) config.Traces {
	c := config.Default().Traces
	c.Endpoint = endpoint
	if change != nil {
		change(&c)
	}
	return c
}

// open makes a tracer that is closed when the test ends, and what it logs.
func open(t testing.TB, c config.Traces) (*trace.Tracer, *logtest.Buffer) {
	t.Helper()
	log := &logtest.Buffer{}
	tr, err := trace.New(t.Context(), c, trace.Options{Version: "test", Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	return tr, log
}

// server answers as the public listener does, with the route pattern that a router would set.
func server(tr *trace.Tracer, pattern string, answer http.HandlerFunc) http.Handler {
	return telemetry.NewTracker(telemetry.TrackerOptions{}).Track(tr.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if pattern != "" {
			telemetry.SetRoute(r.Context(), pattern)
		}
		answer(w, r)
	})))
}

// certificate makes one for 127.0.0.1, and the file that says to trust it.
func certificate(t *testing.T) (cert *tls.Certificate, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
