package telemetry

import (
	"context"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// SetKey says whose API key came with the request of ctx, by the key's name. The name becomes a label: Tracker.SetKeys has to know it
// to count it. Outside a tracked request it does nothing.
func SetKey(ctx context.Context, name string) {
	if rec, ok := ctx.Value(contextKey{}).(*record); ok {
		rec.key = name
	}
}

// SetValid keeps for Valid what ends when the key of the request of ctx is good no longer. Outside a tracked request it does nothing.
func SetValid(ctx, valid context.Context) {
	if rec, ok := ctx.Value(contextKey{}).(*record); ok {
		rec.valid = valid
	}
}

// Valid returns what ends, with a cause that clients may read, when the key that came with the request of ctx is good no longer; nil
// when none came. It outlives the request.
func Valid(ctx context.Context) context.Context {
	if rec, ok := ctx.Value(contextKey{}).(*record); ok {
		return rec.valid
	}
	return nil
}

// keyBoard counts the requests of each API key. There are as many as the configuration names.
type keyBoard struct {
	requests *prometheus.CounterVec

	mu     sync.RWMutex // guards byName
	byName map[string]*keyCounts
}

// keyCounts has the counter of each class of statuses, made when it is needed.
type keyCounts struct {
	mu      sync.Mutex // guards classes; a leaf
	classes [6]prometheus.Counter
}

func newKeyBoard() *keyBoard {
	return &keyBoard{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "patchbay_key_requests_total",
			Help: "Requests that came with an API key that is known, by the key's name and the class of the status, such as 2xx.",
		}, []string{"key", "class"}),
		byName: map[string]*keyCounts{},
	}
}

// SetKeys says which keys there are. What a key that goes on has counted stays; of one that is gone nothing is told any more.
func (t *Tracker) SetKeys(names []string) {
	b := t.keys
	b.mu.Lock()
	defer b.mu.Unlock()
	next := make(map[string]*keyCounts, len(names))
	for _, name := range names {
		if next[name] = b.byName[name]; next[name] == nil {
			next[name] = &keyCounts{}
		}
	}
	for name := range b.byName {
		if next[name] == nil {
			b.requests.DeletePartialMatch(prometheus.Labels{"key": name})
		}
	}
	b.byName = next
}

// add counts a request of a key; "" is none.
func (b *keyBoard) add(name string, status int) {
	class := status / 100
	if name == "" || class < 1 || class > 5 {
		return
	}
	b.mu.RLock() // held to the end, so that a key that goes does not come back
	defer b.mu.RUnlock()
	k := b.byName[name]
	if k == nil {
		return
	}
	k.mu.Lock()
	if k.classes[class] == nil {
		k.classes[class] = b.requests.WithLabelValues(name, strconv.Itoa(class)+"xx")
	}
	counter := k.classes[class]
	k.mu.Unlock()
	counter.Inc()
}
