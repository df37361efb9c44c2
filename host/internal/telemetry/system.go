package telemetry

import (
	"context"
	"log/slog"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/shirou/gopsutil/v3/cpu"
	"github.com/shirou/gopsutil/v3/mem"
	"github.com/shirou/gopsutil/v3/process"
)

const (
	sampleEvery = time.Second
	// firstSample is when the processor's load is known for the first time; it takes two readings.
	firstSample = 200 * time.Millisecond
)

// Sample is the machine and this process at one moment; the feed sends it as the topic system.
type Sample struct {
	Time               time.Time `json:"time"`
	CPUPercent         float64   `json:"cpu_percent"` // of all processors together, 0 to 100
	MemoryPercent      float64   `json:"memory_percent"`
	MemoryAvailableMiB int64     `json:"memory_available_mb"`
	ProcessRSSMiB      int64     `json:"process_rss_mb"`
	Goroutines         int       `json:"goroutines"`
	CPUs               int       `json:"cpus"`
}

// SystemOptions are a System's surroundings. The zero value works.
type SystemOptions struct {
	Log *slog.Logger     // nil is silent
	Now func() time.Time // nil is time.Now
}

// System samples the machine in the background, so that reading it costs nothing and blocks nobody.
type System struct {
	log     *slog.Logger
	now     func() time.Time
	process *process.Process // nil when the platform does not tell
	self    *process.Process // the same for ProcessCPU, which others call
	before  cpuTimes         // owned by whoever samples: NewSystem, then Run
	failing bool             // the same
	latest  atomic.Pointer[Sample]
}

// cpuTimes are seconds of processor time since the machine started.
type cpuTimes struct{ total, idle float64 }

// NewSystem takes a first sample, which lacks only the processor's load. Run takes the others.
func NewSystem(ctx context.Context, o SystemOptions) *System {
	s := &System{log: o.Log, now: o.Now}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if p, err := process.NewProcessWithContext(ctx, int32(os.Getpid())); err == nil {
		s.process = p
		s.self, _ = process.NewProcessWithContext(ctx, p.Pid)
	}
	s.latest.Store(&Sample{})
	s.sample(ctx)
	return s
}

// Run samples each second until ctx is done. It returns nil. Call it once.
func (s *System) Run(ctx context.Context) error {
	timer := time.NewTimer(firstSample)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		s.sample(ctx)
		timer.Reset(sampleEvery)
	}
}

// Snapshot returns the newest sample without taking one.
func (s *System) Snapshot() Sample { return *s.latest.Load() }

// sample keeps the last known value of whatever cannot be read, and says so once.
func (s *System) sample(ctx context.Context) {
	next := *s.latest.Load()
	next.Time = s.now()
	next.Goroutines = runtime.NumGoroutine()
	next.CPUs = runtime.NumCPU()
	var failed error
	if v, err := mem.VirtualMemoryWithContext(ctx); err != nil {
		failed = err
	} else if v.Total > 0 { // it is 0 where /proc cannot be read, and then the percentage is no number
		next.MemoryPercent = round(v.UsedPercent, 1)
		next.MemoryAvailableMiB = int64(v.Available >> 20)
	}
	if t, err := readCPU(ctx); err != nil {
		failed = err
	} else {
		if s.before.total > 0 {
			next.CPUPercent = round(busy(s.before, t), 1)
		}
		s.before = t
	}
	if s.process != nil {
		if m, err := s.process.MemoryInfoWithContext(ctx); err != nil {
			failed = err
		} else {
			next.ProcessRSSMiB = int64(m.RSS >> 20)
		}
	}
	if failed != nil && ctx.Err() == nil && !s.failing {
		s.log.Warn("system figures are not all readable; the last known ones stay", "error", failed)
	}
	s.failing = failed != nil
	s.latest.Store(&next)
}

// Busy is how many of the machine's processors were not idle in the last second, and how many there are.
func (s *System) Busy() (busy, all float64) {
	now := s.Snapshot()
	return now.CPUPercent / 100 * float64(now.CPUs), float64(now.CPUs)
}

// ProcessCPU reads the processor time that this process has taken, in all its threads; false where the platform does not tell.
// It is not safe for concurrent use.
func (s *System) ProcessCPU() (time.Duration, bool) {
	if s.self == nil {
		return 0, false
	}
	t, err := s.self.TimesWithContext(context.Background())
	if err != nil {
		return 0, false
	}
	return time.Duration((t.User + t.System) * float64(time.Second)), true
}

// readCPU is cpu.Times rather than cpu.Percent, whose memory of the last call is one per process.
func readCPU(ctx context.Context) (cpuTimes, error) {
	all, err := cpu.TimesWithContext(ctx, false)
	if err != nil || len(all) == 0 {
		return cpuTimes{}, err
	}
	t := all[0]
	// Guest time is part of user time already.
	total := t.User + t.System + t.Idle + t.Nice + t.Iowait + t.Irq + t.Softirq + t.Steal
	return cpuTimes{total: total, idle: t.Idle + t.Iowait}, nil
}

// busy is the share of a not idle processor between two readings, in percent.
func busy(before, after cpuTimes) float64 {
	total := after.total - before.total
	if total <= 0 {
		return 0
	}
	return min(max(100*(1-(after.idle-before.idle)/total), 0), 100)
}
