package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/patchbay-run/patchbay/sdk/go/plugin"
)

const (
	maxReply = 8 << 20 // bytes of one page of the list
	maxPages = 20      // of the list; GPUStack puts 100 models on one
)

// service lists the models of one server.
type service struct {
	url    string
	secret string
}

// page is what GPUStack answers: v2 and OpenAI put the models into data, v0.x into items, page by page.
type page struct {
	Data       *[]model `json:"data"`
	Items      *[]model `json:"items"`
	Pagination struct {
		PerPage   int `json:"perPage"`
		TotalPage int `json:"totalPage"`
	} `json:"pagination"`
}

// list is GET /api/models.
func (s *service) list(w *plugin.Response, r *plugin.Request) error {
	models := []model{}
	w.Header().Set("cache-control", "no-store")
	for n, last := 1, 1; n <= last; n++ {
		p, err := s.page(r.Context(), w, n)
		if err != nil {
			return err
		}
		listed, openAI := p.Items, false
		if p.Data != nil {
			listed, openAI = p.Data, true
		}
		if listed == nil {
			return fmt.Errorf("%w: it has neither data nor items", plugin.ErrReply)
		}
		for _, m := range *listed {
			if m != nil && m.isLanguageModel() {
				m.complete(openAI)
				models = append(models, m)
			}
		}
		if !openAI && len(*listed) > 0 {
			last = min(p.Pagination.TotalPage, maxPages)
		}
	}
	return w.JSON(200, map[string]any{"models": models})
}

// page asks for one page of the list. The first is asked for without a number, which OpenAI's list does not know.
func (s *service) page(ctx context.Context, w *plugin.Response, n int) (*page, error) {
	call := &plugin.Call{URL: s.url, Secret: s.secret}
	if n > 1 {
		call.URL += "&page=" + strconv.Itoa(n)
	}
	call.Header.Set("accept", "application/json")
	reply, err := plugin.Fetch(ctx, call)
	if err != nil {
		return nil, err
	}
	if reply.Status/100 != 2 {
		return nil, plugin.UpstreamError(reply)
	}
	const demoHeader = "x-patchbay-demo" // the answer came from the host's built-in demo
	if v := reply.Header.Get(demoHeader); v != "" {
		w.Header().Set(demoHeader, v)
	}
	p := &page{}
	return p, reply.JSON(p, maxReply)
}
