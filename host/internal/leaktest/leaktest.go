// Package leaktest fails a package's tests when they leave a goroutine behind. It has the patience that goleak has not: a machine
// that hesitates for a second is no leak.
package leaktest

import (
	"fmt"
	"os"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines that were told to end may take.
const patience = 30 * time.Second

// Main runs the tests of a package, from its TestMain, and does not return.
func Main(m goleak.TestingM) { MainThen(m, func() error { return nil }) }

// MainThen is Main with a last step, such as to close what all tests share. Its error fails the tests.
func MainThen(m goleak.TestingM, last func() error) { then(patient{m, patience}, last, os.Exit) }

func then(p patient, last func() error, exit func(code int)) {
	goleak.VerifyTestMain(p, goleak.Cleanup(func(code int) {
		if err := last(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		exit(code)
	}))
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
