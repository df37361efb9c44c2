// Package leaktest fails a package's tests when they leave a goroutine behind. It has the patience that goleak has not: a machine
// that hesitates for a second is no leak.
package leaktest

import (
	"os"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines that were told to end may take.
const patience = 30 * time.Second

// Main runs the tests of a package, from its TestMain, and does not return.
func Main(m goleak.TestingM) { MainThen(m, os.Exit) }

// MainThen is Main with a last step that is given the exit code, and exits.
func MainThen(m goleak.TestingM, last func(code int)) {
	goleak.VerifyTestMain(patient{m, patience}, goleak.Cleanup(last))
}

// patient runs the tests, and is done when no goroutine is left, or its patience is over.
type patient struct {
	goleak.TestingM
	patience time.Duration
}

// Run implements goleak.TestingM.
func (p patient) Run() int {
	code := p.TestingM.Run()
	for end := time.Now().Add(p.patience); code == 0 && time.Now().Before(end) && goleak.Find() != nil; {
		time.Sleep(time.Millisecond)
	}
	return code
}
