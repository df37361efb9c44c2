package telemetry_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/patchbay-run/patchbay/host/internal/telemetry"
)

// TestRefusalsCountAsRequests: those that never came to Track, once each, and those that did, not again.
func TestRefusalsCountAsRequests(t *testing.T) {
	var log lines
	tr := telemetry.NewTracker(telemetry.TrackerOptions{Log: log.logger(), Access: telemetry.AccessLog{On: true}})
	fail := tr.TrackError(func(w http.ResponseWriter, _ *http.Request, status int, detail string) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(detail))
	})

	a, b := tr.Refused(400), tr.Refused(431)
	w := httptest.NewRecorder()
	fail(w, httptest.NewRequest(http.MethodGet, "/", nil), 431, "too large")
	failed := httptest.NewRecorder()
	failed.Header().Set("X-Request-Id", "counted")
	fail(failed, httptest.NewRequest(http.MethodGet, "/", nil), 500, "oh")

	if w.Code != 431 || w.Body.String() != "too large" || failed.Code != 500 || failed.Body.String() != "oh" {
		t.Errorf("the answers are %d %q and %d %q", w.Code, w.Body, failed.Code, failed.Body)
	}
	id := w.Header().Get("X-Request-Id")
	if len(map[string]bool{a: true, b: true, id: true, "": true}) != 4 {
		t.Errorf("the ids are %q, %q, %q", a, b, id)
	}
	s := tr.Snapshot()
	if s.Total != 3 || s.Status.ClientError != 3 || s.InFlight != 0 || tr.Routes()[0].Latency.Count != 3 {
		t.Errorf("%+v, %+v", s, tr.Routes())
	}
	got := log.all(t)
	if len(got) != 3 || got[0]["id"] != a || got[0]["status"] != 400.0 || got[2]["id"] != id || got[2]["status"] != 431.0 || got[2]["bytes_out"] != 9.0 {
		t.Errorf("%v", got)
	}
}
