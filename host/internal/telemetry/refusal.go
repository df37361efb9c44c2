package telemetry

import "net/http"

// Refused counts an answer to what could not be read as a request, and returns an id for it. It has no route and no method, and how fast
// it was says nothing about the service.
func (t *Tracker) Refused(status int) (id string) {
	rec := &record{tracker: t, id: newID(), method: methodLabel(""), route: unmatched, start: t.uptime()}
	rec.status = status
	t.flow.begin(rec.start)
	rec.count(outcome{status: status, probe: true, left: leftServer})
	t.say(rec, t.now(), 0, leftServer)
	return rec.id
}

// TrackError returns fail for requests that were refused before they came to Track: what it answers is counted, and has an id, as any other.
func (t *Tracker) TrackError(fail func(w http.ResponseWriter, r *http.Request, status int, detail string)) func(w http.ResponseWriter, r *http.Request, status int, detail string) {
	return func(w http.ResponseWriter, r *http.Request, status int, detail string) {
		if w.Header().Get(RequestIDHeader) != "" { // it has been counted, and failed after that
			fail(w, r, status, detail)
			return
		}
		t.Track(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fail(w, r, status, detail) })).ServeHTTP(w, r)
	}
}
