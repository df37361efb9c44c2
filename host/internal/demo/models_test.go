package demo_test

import (
	"slices"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/demo"
)

type modelMeta struct {
	MaxModelLen int `json:"max_model_len"`
	NCtx        int `json:"n_ctx"`
	NParams     int `json:"n_params"`
}

func TestModels(t *testing.T) {
	type list struct {
		Object string `json:"object"`
		Data   []struct {
			ID         string     `json:"id"`
			Object     string     `json:"object"`
			Created    int64      `json:"created"`
			OwnedBy    string     `json:"owned_by"`
			Categories []string   `json:"categories"`
			Meta       *modelMeta `json:"meta"`
		} `json:"data"`
	}
	u := start(t, demo.Options{})
	for path, want := range map[string][]string{
		"/v1/models":                {"demo-chat", "demo-embedding"},
		"/v1/models?categories=llm": {"demo-chat"},
		"/v1/models?categories=embedding&with_meta=true": {"demo-embedding"},
		"/v1/models?categories=llm&categories=embedding": {"demo-chat", "demo-embedding"},
		"/v1/models?categories=image":                    {},
		"/v1-openai/models?with_meta=true":               {"demo-chat", "demo-embedding"},
	} {
		var got list
		u.get(path, &got)
		names := []string{}
		for _, m := range got.Data {
			names = append(names, m.ID)
			if m.Object != "model" || m.Created == 0 || m.OwnedBy != "patchbay-demo" || len(m.Categories) != 1 {
				t.Errorf("%s: %+v", path, m)
			}
		}
		if got.Object != "list" || got.Data == nil || !slices.Equal(names, want) {
			t.Errorf("%s: object %q, models %v, want %v", path, got.Object, names, want)
		}
	}

	var without, with list
	u.get("/v1/models", &without)
	u.get("/v1/models?with_meta=true", &with)
	if without.Data[0].Meta != nil {
		t.Error("meta was not asked for")
	}
	if m := with.Data[0].Meta; m == nil || m.MaxModelLen != 32768 || m.NParams <= 0 || m.NCtx != 0 {
		t.Errorf("meta: %+v", m)
	}
}

func TestModelsOfOldGPUStack(t *testing.T) {
	type list struct {
		Items []struct {
			ID            int        `json:"id"`
			Name          string     `json:"name"`
			Categories    []string   `json:"categories"`
			Meta          *modelMeta `json:"meta"`
			Replicas      int        `json:"replicas"`
			ReadyReplicas int        `json:"ready_replicas"`
		} `json:"items"`
		Pagination struct {
			Total int `json:"total"`
		} `json:"pagination"`
	}
	u := start(t, demo.Options{OldGPUStack: true})
	var got list
	u.get("/v1/models", &got)
	if len(got.Items) != 2 || got.Pagination.Total != 2 {
		t.Fatalf("%+v", got)
	}
	m := got.Items[0]
	if m.ID != 1 || m.Name != "demo-chat" || m.Meta == nil || m.Meta.NCtx != 32768 || m.Meta.NParams <= 0 || m.Replicas != 1 || m.ReadyReplicas != 1 {
		t.Errorf("%+v", m)
	}
	u.get("/v1/models?categories=embedding", &got)
	if len(got.Items) != 1 || got.Items[0].Name != "demo-embedding" || got.Items[0].ID != 2 {
		t.Errorf("%+v", got)
	}
	var openAI struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	u.get("/v1-openai/models", &openAI)
	if len(openAI.Data) != 2 {
		t.Errorf("v1-openai: %+v", openAI)
	}
}
