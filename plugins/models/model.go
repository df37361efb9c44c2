package main

import (
	"encoding/json"
	"slices"
)

// model is one model as the upstream lists it. Members that we do not know pass through, numbers to the letter.
type model map[string]json.RawMessage

// isLanguageModel reports whether chats may go to m. The upstream was asked for such models only, but its older versions do not know the question.
// A model that says nothing about itself counts as one.
func (m model) isLanguageModel() bool {
	var categories []string
	if json.Unmarshal(m["categories"], &categories) != nil {
		var one string
		if json.Unmarshal(m["categories"], &one) == nil && one != "" {
			categories = []string{one}
		}
	}
	if len(categories) > 0 {
		return slices.Contains(categories, "llm")
	}
	meta := m.meta()
	for _, flag := range []string{"embedding_only", "reranker", "image_only", "speech_to_text", "text_to_speech"} { // of v0.x
		if string(m[flag]) == "true" || string(meta[flag]) == "true" {
			return false
		}
	}
	return true
}

// complete adds what the browser page reads and this generation of the upstream does not send: name, meta.n_ctx and ready_replicas.
// What is there stays.
func (m model) complete(openAI bool) {
	if m.lacks("name") && !m.lacks("id") {
		m["name"] = m["id"]
	}
	meta := m.meta()
	if lacks(meta, "n_ctx") {
		for _, length := range []json.RawMessage{meta["max_model_len"], m["max_model_len"]} { // vLLM's name for it
			if len(length) > 0 && string(length) != "null" {
				meta["n_ctx"] = length
				break
			}
		}
	}
	if b, err := json.Marshal(meta); err == nil {
		m["meta"] = b
	}
	if openAI && m.lacks("ready_replicas") {
		m["ready_replicas"] = json.RawMessage("1") // only models that run are listed; the page shows 0 as offline
	}
}

// meta is a copy of the model's meta, empty when it has none.
func (m model) meta() map[string]json.RawMessage {
	var meta map[string]json.RawMessage
	if json.Unmarshal(m["meta"], &meta) != nil || meta == nil {
		return map[string]json.RawMessage{}
	}
	return meta
}

func (m model) lacks(key string) bool { return lacks(m, key) }

func lacks(m map[string]json.RawMessage, key string) bool {
	return len(m[key]) == 0 || string(m[key]) == "null"
}
