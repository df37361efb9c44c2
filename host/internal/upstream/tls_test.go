package upstream_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/upstream"
)

// authority is a file with the certificate of somebody who signed for none of the test's servers.
func authority(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestPrivateAuthority calls an endpoint whose certificate nobody but a file vouches for.
func TestPrivateAuthority(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(hello))
	t.Cleanup(s.Close)
	s.Config.ErrorLog = nil
	its := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	file := filepath.Join(t.TempDir(), "ca.pem")
	write := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trusting := map[string]config.Upstream{"up": entry(func(c *config.Upstream) {
		c.TLS.CA, c.Health.Path, c.Health.Interval, c.Breaker = file, "/", time.Hour, config.Breaker{}
	}, s.URL)}

	write(append(authority(t), its...))
	set, err := upstream.New(client(nil), trusting, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	u, _ := set.Named("up")
	mustAsk(t, u)
	if err := u.Check(t.Context()); err != nil {
		t.Errorf("its health is asked of others: %v", err)
	}
	if _, err := fetch(set.Shared(), get(t, t.Context(), s.URL), local); !errors.Is(err, upstream.ErrConnect) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("others trust the file of an upstream: %v", err)
	}

	same, err := set.Reload(client(nil), trusting)
	if err != nil {
		t.Fatal(err)
	}
	defer same.Close()
	if next, _ := same.Named("up"); next.Pool() != u.Pool() {
		t.Error("a file that did not change made another pool")
	}

	write(authority(t))
	changed, err := same.Reload(client(nil), trusting)
	if err != nil {
		t.Fatal(err)
	}
	defer changed.Close()
	u, _ = changed.Named("up")
	if _, _, err := ask(t.Context(), u, http.MethodGet, ""); !errors.Is(err, upstream.ErrConnect) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody signed: %v", err)
	}

	for name, b := range map[string][]byte{"holds no certificate": []byte("s3cret"), "no such file": nil} {
		if write(b); b == nil {
			os.Remove(file)
		}
		if _, err := changed.Reload(client(nil), trusting); err == nil || !strings.Contains(err.Error(), "upstreams.up.tls.ca") || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
