package enginetest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// Open opens a database in memory for one test. Each of change may adjust the options. At the end of the test the database is
// checked, documents against indexes, and closed; a fault fails the test. Functions get ten seconds instead of one, so that
// a slow machine does not fail a test that is not about time. Log lines go to the test's own log.
func Open(t testing.TB, s *engine.Schema, change ...func(*engine.Options)) *engine.DB {
	t.Helper()
	o := engine.Options{
		Limits: engine.Limits{FunctionTime: 10 * time.Second},
		Seed:   1,
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	if o.Store == nil && o.Dir == "" {
		o.Store = memstore.New(memstore.Options{})
	}
	db, err := engine.Open(s, o)
	if err != nil {
		t.Fatalf("enginetest: open: %v", err)
	}
	t.Cleanup(func() { Finish(t, db) })
	return db
}

// Finish checks and closes a database, as Open arranges at the end of a test. One that is closed already is left alone.
func Finish(t testing.TB, db *engine.DB) {
	t.Helper()
	if err := db.Check(context.Background()); err != nil && err != engine.ErrClosed {
		t.Errorf("enginetest: the database is inconsistent: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("enginetest: close: %v", err)
	}
}

// testWriter hands log lines to a test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", p)
	return len(p), nil
}
