package main

import (
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// plain serves a feed as gorilla/websocket's chat example does: a reader and a writer for each client, and its default buffers. It
// encodes two states as large as ours for each client once a second.
func plain(address string) error {
	padding := strings.Repeat("x", 500)
	var upgrader websocket.Upgrader
	http.HandleFunc("/api/live", func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		done := make(chan struct{})
		go func() {
			defer conn.Close()
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for n := 0; ; n++ {
				for _, topic := range []string{"system", "http"} {
					frame, err := json.Marshal(struct {
						Type       string `json:"type"`
						Topic      string `json:"topic"`
						Seq        int    `json:"seq"`
						Goroutines int    `json:"goroutines"`
						Data       string `json:"data"`
					}{"state", topic, n, runtime.NumGoroutine(), padding})
					_ = conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
					if err != nil || conn.WriteMessage(websocket.TextMessage, frame) != nil {
						return
					}
				}
				select {
				case <-done:
					return
				case <-tick.C:
				}
			}
		}()
		defer close(done)
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				return
			}
		}
	})
	return http.ListenAndServe(address, nil)
}
