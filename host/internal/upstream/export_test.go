package upstream

// CheckAddress lets the table test try addresses that no test may dial.
var CheckAddress = checkAddress
