package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"
)

// TestSwapOfAuthorityAlone: an upstream's own authority, in a file that changes, is trusted from then on and alone.
func TestSwapOfAuthorityAlone(t *testing.T) {
	stack := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, 200, `{"object":"list","data":[]}`)
	}))
	defer stack.Close()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, other, other, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	certificate := func(der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	write(t, file, certificate(der))
	p := serve(t, setup{plugins: "models", gpustack: stack.URL, chats: fmt.Sprintf("tls: {ca: %q}, breaker: {failure_rate: 0}, retry: {max: 0}", file)})
	if a := p.do("GET", "/api/models", ""); a.status != 502 {
		t.Errorf("%d %s", a.status, a.body)
	}
	replace(t, file, certificate(stack.Certificate().Raw))
	eventually(t, "its own authority", func() bool { return p.do("GET", "/api/models", "").status == 200 })
	replace(t, file, certificate(der))
	eventually(t, "the other authority", func() bool { return p.do("GET", "/api/models", "").status == 502 })
}
