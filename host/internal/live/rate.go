package live

// A rate is one of the three at which states are sent.
type rate uint8

const (
	fast rate = iota
	normal
	slow
	rateCount
)

// quarters is how many of the fastest turns make one of the normal ones.
const quarters = 4

// name is the rate as clients write it.
func (r rate) name() string { return [rateCount]string{"250ms", "1s", "5s"}[r] }

// ticks is how many of the fastest turns lie between two of this rate.
func (r rate) ticks() int64 { return [rateCount]int64{1, quarters, 5 * quarters}[r] }

func parseRate(name string) (rate, bool) {
	for r := range rateCount {
		if r.name() == name {
			return r, true
		}
	}
	return 0, false
}

func rateNames() (names []string) {
	for r := range rateCount {
		names = append(names, r.name())
	}
	return names
}

// rates is a set of them.
type rates uint8

const everyRate rates = 1<<rateCount - 1

func (r rates) has(one rate) bool { return r&(1<<one) != 0 }

// dueBetween says whose turn came after one moment and up to another, both in the fastest turns.
func dueBetween(last, now int64) (due rates) {
	for r := range rateCount {
		if now/r.ticks() > last/r.ticks() {
			due |= 1 << r
		}
	}
	return due
}
