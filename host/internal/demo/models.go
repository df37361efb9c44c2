package demo

import (
	"net/http"
	"slices"
	"time"
)

const (
	owner         = "patchbay-demo"
	chatModel     = "demo-chat"
	embedModel    = "demo-embedding"
	contextWindow = 32768 // tokens of a prompt and its answer together
)

// model is one row of the model list.
type model struct {
	name       string
	categories []string
	params     int // the numbers it decides by, as a language model's parameters are
	window     int // tokens
}

// models lists what the demo offers. The embedding model is there so that a client that lists language models only
// has something to leave out; nothing answers for it.
func models(ix *index) []model {
	return []model{
		{chatModel, []string{"llm"}, ix.size(), contextWindow},
		{embedModel, []string{"embedding"}, ix.size(), 512},
	}
}

// released is when the demo's models came to be.
func released() time.Time { return time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC) }

type openAIModels struct {
	Object string        `json:"object"`
	Data   []openAIModel `json:"data"`
}

type openAIModel struct {
	ID         string         `json:"id"`
	Object     string         `json:"object"`
	Created    int64          `json:"created"`
	OwnedBy    string         `json:"owned_by"`
	Categories []string       `json:"categories"`
	Meta       map[string]any `json:"meta"` // null unless it was asked for
}

// oldModels is the list of GPUStack v0.x, which has management's paging.
type oldModels struct {
	Items      []oldModel `json:"items"`
	Pagination pagination `json:"pagination"`
}

type oldModel struct {
	ID            int            `json:"id"`
	Name          string         `json:"name"`
	Description   string         `json:"description"`
	Categories    []string       `json:"categories"`
	Meta          map[string]any `json:"meta"`
	Replicas      int            `json:"replicas"`
	ReadyReplicas int            `json:"ready_replicas"`
	CreatedAt     string         `json:"created_at"`
}

type pagination struct {
	Page      int `json:"page"`
	PerPage   int `json:"perPage"`
	Total     int `json:"total"`
	TotalPage int `json:"totalPage"`
}

func (s *Server) listModels(x *exchange) error {
	if !s.opts.OldGPUStack {
		return s.listOpenAIModels(x)
	}
	out := oldModels{Items: []oldModel{}, Pagination: pagination{Page: 1, PerPage: 100, TotalPage: 1}}
	for _, m := range s.wantedModels(x) {
		out.Items = append(out.Items, oldModel{
			ID:            slices.IndexFunc(s.models, func(o model) bool { return o.name == m.name }) + 1,
			Name:          m.name,
			Description:   "Patchbay's demo model",
			Categories:    m.categories,
			Meta:          map[string]any{"n_ctx": m.window, "n_params": m.params}, // as llama-box, the engine of v0.x, names it
			Replicas:      1,
			ReadyReplicas: 1,
			CreatedAt:     released().Format(time.RFC3339),
		})
	}
	out.Pagination.Total = len(out.Items)
	return x.reply(http.StatusOK, out)
}

func (s *Server) listOpenAIModels(x *exchange) error {
	withMeta := oneOf(x.r.URL.Query().Get("with_meta"), "true", "1")
	out := openAIModels{Object: "list", Data: []openAIModel{}}
	for _, m := range s.wantedModels(x) {
		row := openAIModel{ID: m.name, Object: "model", Created: released().Unix(), OwnedBy: owner, Categories: m.categories}
		if withMeta {
			row.Meta = map[string]any{"max_model_len": m.window, "n_params": m.params} // as vLLM, the engine of v2, names it
		}
		out.Data = append(out.Data, row)
	}
	return x.reply(http.StatusOK, out)
}

// wantedModels are those in one of the categories that the query names, or all.
func (s *Server) wantedModels(x *exchange) []model {
	wanted := x.r.URL.Query()["categories"]
	if len(wanted) == 0 {
		return s.models
	}
	var out []model
	for _, m := range s.models {
		if slices.ContainsFunc(m.categories, func(c string) bool { return slices.Contains(wanted, c) }) {
			out = append(out, m)
		}
	}
	return out
}
