// Package fewlines bounds what strangers can make a program write to its log.
package fewlines

import (
	"sync"
	"time"
)

// PerMinute is how many lines a minute there are: enough to see what is wrong with a secret, and no way to fill a disk.
const PerMinute = 30

// Limit counts lines about what was refused. Its zero value is ready, and it is safe for concurrent use.
type Limit struct {
	mu    sync.Mutex
	since time.Time // guarded by mu; when the minute began
	lines int       // guarded by mu; written in it
	more  int       // guarded by mu; left out since the last line
}

// Line says whether another line may be written, and how many were left out before it.
func (l *Limit) Line(now time.Time) (more int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.since).Abs() >= time.Minute {
		l.since, l.lines = now, 0
	}
	if l.lines >= PerMinute {
		l.more++
		return 0, false
	}
	l.lines++
	more, l.more = l.more, 0
	return more, true
}
