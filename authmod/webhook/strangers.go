package webhook

import (
	"sync"
	"time"
)

// maxLines is how many lines a minute the log has of what strangers send: enough to see what is wrong with a secret, and no
// way to fill a disk.
const maxLines = 30

// strangers counts what is refused without a signature. It is safe for concurrent use.
type strangers struct {
	mu    sync.Mutex
	since time.Time // guarded by mu; when the minute began
	lines int       // guarded by mu; written in it
	more  int       // guarded by mu; left out since the last line
}

// line says whether another line may be written, and how many were left out before it.
func (s *strangers) line(now time.Time) (more int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.since).Abs() >= time.Minute {
		s.since, s.lines = now, 0
	}
	if s.lines >= maxLines {
		s.more++
		return 0, false
	}
	s.lines++
	more, s.more = s.more, 0
	return more, true
}
