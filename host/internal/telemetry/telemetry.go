// Package telemetry knows how busy this process is: the requests in flight, how fast they end, how
// long they take and what the machine has left. It tells it as the two JSON documents of the API,
// as Prometheus metrics and as one log line per request.
//
// It counts within this process only and decides nothing: limits belong to admission, readiness to
// whoever knows the plugins.
package telemetry
