package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/patchbay-run/patchbay/host/internal/config"
	"github.com/patchbay-run/patchbay/host/internal/pipetest"
	"github.com/patchbay-run/patchbay/host/internal/server"
)

// certificate makes one for localhost and returns a pool that trusts it.
func certificate(t *testing.T) (config.TLS, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		// A bubble's clock starts in the year 2000.
		NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(100, 0, 0), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := config.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	for name, block := range map[string]*pem.Block{c.Cert: {Type: "CERTIFICATE", Bytes: der}, c.Key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(cert)
	return c, pool
}

// transport speaks HTTP/2, or HTTP/1 alone.
func transport(t *testing.T, pool *x509.CertPool, h2 bool, dial func() (net.Conn, error)) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost"},
		Protocols:       protocols,
		DialContext:     func(context.Context, string, string) (net.Conn, error) { return dial() },
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func TestTLS(t *testing.T) {
	c := settings()
	pool := (*x509.CertPool)(nil)
	c.TLS, pool = certificate(t)
	c.MaxBody = 1000
	addr, _ := listen(t, c, func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil {
			t.Error("Request.TLS is not set")
		}
		if r.URL.Path == "/echo" {
			echo(w, r)
			return
		}
		fmt.Fprint(w, r.Proto, " ", server.ClientAddr(r))
	})
	for h2, proto := range map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			cl := transport(t, pool, h2, func() (net.Conn, error) { return net.Dial("tcp", addr) })
			do := func(path, body string, header int) (*http.Response, string) {
				t.Helper()
				r, err := http.NewRequest("POST", "https://localhost"+path, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				if header > 0 {
					r.Header.Set("A", strings.Repeat("a", header))
				}
				resp, err := cl.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				return resp, string(b)
			}
			if resp, body := do("/", "", 0); resp.StatusCode != 200 || body != proto+" 127.0.0.1" {
				t.Errorf("%d %q", resp.StatusCode, body)
			}
			if resp, body := do("/echo", "whole", 0); resp.StatusCode != 200 || body != "whole" {
				t.Errorf("%d %q", resp.StatusCode, body)
			}
			if resp, body := do("/echo", strings.Repeat("x", 1001), 0); resp.StatusCode != 413 || !isDetail(resp, body, "1000") {
				t.Errorf("%d %q", resp.StatusCode, body)
			}
			if resp, body := do("/", "", 24<<10); resp.StatusCode != 431 || !isDetail(resp, body, "Request Header Fields Too Large") {
				t.Errorf("%d %q", resp.StatusCode, body)
			}
		})
	}
	t.Run("garbage inside", func(t *testing.T) {
		conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: "localhost"})
		if err != nil {
			t.Fatal(err)
		}
		cl := newClient(t, conn)
		cl.send("garbage\r\n\r\n")
		if resp, body := cl.answer(); resp.StatusCode != 400 || !isDetail(resp, body, "Bad Request") {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
		cl.closed()
	})
	t.Run("plain HTTP", func(t *testing.T) {
		cl := dial(t, addr)
		cl.send(getRequest)
		if resp, body := cl.answer(); resp.StatusCode != 400 || !isDetail(resp, body, "This port speaks HTTPS; use an https:// address.") {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
		cl.closed()
	})
	t.Run("neither", func(t *testing.T) {
		cl := dial(t, addr)
		cl.send("hello there")
		cl.closed()
	})
}

// An HTTP/2 deadline is a timer on the stream; it must not fire between two writes or reads.
func TestHTTP2StreamsLiveOnAndAreCut(t *testing.T) {
	c := settings()
	pool := (*x509.CertPool)(nil)
	c.TLS, pool = certificate(t)
	big := strings.Repeat("x", 8<<20)
	synctest.Test(t, func(t *testing.T) {
		ln := pipetest.New()
		cut := make(chan error, 1)
		end := serve(t, server.Options{Config: c, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/slow":
				buf := make([]byte, 1)
				for {
					n, err := r.Body.Read(buf)
					if n > 0 {
						w.Write(buf[:n])
						w.(http.Flusher).Flush()
						time.Sleep(10 * time.Minute)
					}
					if err != nil {
						cut <- err
						return
					}
				}
			case "/big":
				_, err := io.WriteString(w, big)
				cut <- err
			case "/half":
				_, err := io.ReadAll(r.Body)
				cut <- err
			}
		})}, ln)
		cl := transport(t, pool, true, ln.Dial)

		slow, w := io.Pipe()
		go func() {
			for _, part := range []string{"a", "b", "c"} {
				io.WriteString(w, part)
				time.Sleep(10 * time.Minute)
			}
			w.Close()
		}()
		resp, err := cl.Post("https://localhost/slow", "", slow)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "abc" {
			t.Errorf("slow: %q %v", b, err)
		}
		resp.Body.Close()
		if err := <-cut; err != io.EOF {
			t.Errorf("slow: the body ended with %v", err)
		}

		// The client reads frames but no body: the stream's window is full.
		start := time.Now()
		resp, err = cl.Get("https://localhost/big")
		if err != nil {
			t.Fatal(err)
		}
		if err := <-cut; err == nil || time.Since(start) != 30*time.Second {
			t.Errorf("big: the write ended with %v after %v", err, time.Since(start))
		}
		resp.Body.Close()

		start = time.Now()
		pr, pw := io.Pipe()
		go cl.Post("https://localhost/half", "", pr)
		io.WriteString(pw, "half")
		if err := <-cut; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 30*time.Second {
			t.Errorf("half: the read ended with %v after %v", err, time.Since(start))
		}
		pw.Close()

		cl.CloseIdleConnections()
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}
