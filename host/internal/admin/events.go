package admin

import (
	"net/http"
	"strconv"

	"github.com/patchbay-run/patchbay/host/internal/events"
	"github.com/patchbay-run/patchbay/host/internal/server"
)

// recent answers with the newest events; nil without a log of them.
func recent(a *Admin, log *events.Log) http.Handler {
	if log == nil {
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		after, limit := uint64(0), uint64(events.Kept)
		for name, into := range map[string]*uint64{"after": &after, "limit": &limit} {
			if !r.URL.Query().Has(name) {
				continue
			}
			n, err := strconv.ParseUint(r.URL.Query().Get(name), 10, 64)
			if err != nil {
				server.WriteDetail(w, http.StatusBadRequest, name+" must be a whole number of 0 or more, such as "+name+"=100")
				return
			}
			*into = n
		}
		a.answer(w, r, http.StatusOK, log.Look(after, int(min(limit, events.Kept))))
	})
}
