package engine

import (
	"sync/atomic"
	"time"
)

// JobMetrics tells of jobs, see [Job].
type JobMetrics struct {
	// Running is how many run at the moment.
	Running int64
	// Succeeded and Failed are how many have ended; of failed ones, those that were interrupted and those that were cancelled
	// while they ran are among them. Retried is how many attempts of actions failed and are followed by another one.
	Succeeded, Failed, Retried uint64
	// Delay is how much later than due a job was begun, for want of a free slot or of a program that ran; seconds.
	Delay Histogram
}

// jobMeters are counted up by the scheduler.
type jobMeters struct {
	running                    atomic.Int64
	succeeded, failed, retried atomic.Uint64
	delay                      histogram
}

// began counts a job that is begun for the first time.
func (m *jobMeters) began(late time.Duration) { m.delay.observe(max(0, late).Seconds()) }

// ended counts what became of an attempt.
func (m *jobMeters) ended(state JobState) {
	switch state {
	case JobSucceeded:
		m.succeeded.Add(1)
	case JobPending:
		m.retried.Add(1)
	default:
		m.failed.Add(1)
	}
}

func (m *jobMeters) read() JobMetrics {
	return JobMetrics{
		Running: m.running.Load(), Succeeded: m.succeeded.Load(), Failed: m.failed.Load(), Retried: m.retried.Load(),
		Delay: m.delay.read(),
	}
}
