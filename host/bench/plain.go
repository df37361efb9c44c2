package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"time"
)

// plain is the peer of the HTTP section: what the guest does, by net/http alone, with a pool as large as the server's.
func plain(address, upstream string) error {
	transport := &http.Transport{MaxConnsPerHost: poolSize, MaxIdleConnsPerHost: poolSize, MaxIdleConns: poolSize}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /noop", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /chat", func(w http.ResponseWriter, r *http.Request) {
		if err := handOn(transport, upstream, w, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return fmt.Errorf("run the plain server: %w", server.ListenAndServe())
}

func handOn(transport http.RoundTripper, upstream string, w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	call, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "http://"+upstream+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	call.Header.Set("Content-Type", "application/json")
	reply, err := transport.RoundTrip(call)
	if err != nil {
		return err
	}
	defer reply.Body.Close()
	w.Header().Set("Content-Type", reply.Header.Get("Content-Type"))
	w.WriteHeader(reply.StatusCode)
	_, _ = io.Copy(w, reply.Body) // the client left
	return nil
}
