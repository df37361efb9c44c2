package upstream

// CheckAddress lets the table test try addresses that no test may dial.
var CheckAddress = checkAddress

// SumMetric reads pages that no server of a test would send.
var SumMetric = sumMetric

// RetryAfter reads headers at a given time.
var RetryAfter = retryAfter
