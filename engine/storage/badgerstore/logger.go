package badgerstore

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// badgerLogger hands Badger's messages to a slog.Logger. What Badger calls information is detail to everyone else.
//
// Between two steps of merging tables, on the goroutine that asked for it, a message is where it can be stopped.
type badgerLogger struct {
	log     *slog.Logger
	merging *merging
}

func (l badgerLogger) Errorf(format string, args ...any)   { l.write(slog.LevelError, format, args) }
func (l badgerLogger) Warningf(format string, args ...any) { l.write(slog.LevelWarn, format, args) }

func (l badgerLogger) Infof(format string, args ...any) {
	l.merging.before(format, args)
	l.write(slog.LevelDebug, format, args)
}

func (l badgerLogger) Debugf(format string, args ...any) { l.write(slog.LevelDebug, format, args) }

func (l badgerLogger) write(level slog.Level, format string, args []any) {
	if !l.log.Enabled(context.Background(), level) {
		return // formatting is not free, and Badger talks a lot
	}
	l.log.Log(context.Background(), level, "badger: "+strings.TrimSpace(fmt.Sprintf(format, args...)))
}
