package main

import (
	"encoding/json"
	"testing"
)

// FuzzModels takes lists as an upstream may send them: what is shown of a model has all its members, and is JSON.
func FuzzModels(f *testing.F) {
	for _, seed := range []string{
		`{"items":[{"id":1,"name":"a","categories":["llm"],"meta":{"max_model_len":4096}}],"pagination":{"perPage":100,"totalPage":2}}`,
		`{"data":[{"id":"b","categories":"embedding"},{"id":"c","meta":null,"reranker":true},null]}`,
		`{"data":[{"name":null,"meta":[1],"ready_replicas":null,"max_model_len":"x","categories":[""]}]}`,
		`{"data":[{}],"items":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p page
		if json.Unmarshal(b, &p) != nil {
			return
		}
		for _, list := range []*[]model{p.Data, p.Items} {
			if list == nil {
				continue
			}
			for _, m := range *list {
				if m == nil || !m.isLanguageModel() {
					continue
				}
				before := len(m)
				m.complete(list == p.Data)
				if _, err := json.Marshal(m); err != nil || len(m) < before {
					t.Fatalf("%v: %v", m, err)
				}
			}
		}
	})
}
