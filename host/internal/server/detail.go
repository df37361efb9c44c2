package server

import (
	"encoding/json"
	"net/http"
)

// WriteDetail answers with status and {"detail": detail}.
func WriteDetail(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(detailJSON(detail))
}

func detailJSON(detail string) []byte {
	b, err := json.Marshal(struct {
		Detail string `json:"detail"`
	}{detail})
	if err != nil { // a string always encodes
		return []byte(`{"detail":""}`)
	}
	return b
}
