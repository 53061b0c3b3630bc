package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine"
)

type paper struct {
	Number int    `json:"number"`
	Author string `json:"author"`
	Text   string `json:"text"`
}

// archiveOf is a database on disk with documents of about 1 KB and two indexes.
type archiveOf struct {
	schema *engine.Schema
	papers *engine.Collection[paper]
	db     *engine.DB
}

func newArchive(b *testing.B, documents int) *archiveOf {
	b.Helper()
	s := engine.NewSchema()
	a := &archiveOf{schema: s, papers: engine.Define[paper](s, "papers")}
	a.papers.AddUnique("byNumber", "number")
	a.papers.AddIndex("byAuthor", "author")
	var err error
	if a.db, err = engine.Open(s, engine.Options{Dir: b.TempDir()}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := a.db.Close(); err != nil {
			b.Error(err)
		}
	})
	text := strings.Repeat("text ", 180)
	for from := 0; from < documents; from += 500 {
		err := a.db.Update(context.Background(), func(tx *engine.Tx) error {
			for i := from; i < min(from+500, documents); i++ {
				if _, err := a.papers.Insert(tx, paper{i, fmt.Sprint("author ", i%1000), text}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return a
}

func (a *archiveOf) backup(b *testing.B, w io.Writer, since engine.Timestamp) engine.BackupInfo {
	b.Helper()
	info, err := a.db.Backup(context.Background(), w, engine.BackupOptions{Since: since})
	if err != nil {
		b.Fatal(err)
	}
	return info
}

const archived = 50_000

func BenchmarkBackup(b *testing.B) {
	a := newArchive(b, archived)
	b.Run("full", func(b *testing.B) {
		for b.Loop() {
			b.SetBytes(a.backup(b, io.Discard, 0).Bytes)
		}
	})
	b.Run("incremental of 1%", func(b *testing.B) {
		since := a.backup(b, io.Discard, 0).At
		err := a.db.Update(context.Background(), func(tx *engine.Tx) error {
			for d, err := range a.papers.All(tx).Limit(archived / 100).Docs() {
				if err != nil {
					return err
				}
				if err := a.papers.Patch(tx, d.ID, func(p *paper) error { p.Text += "."; return nil }); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			b.SetBytes(a.backup(b, io.Discard, since).Bytes)
		}
	})
}

// Restore includes making the index entries, opening the database and checking it.
func BenchmarkRestore(b *testing.B) {
	a := newArchive(b, archived)
	var file bytes.Buffer
	a.backup(b, &file, 0)
	b.SetBytes(int64(file.Len()))
	top := b.TempDir()
	for i := 0; b.Loop(); i++ {
		o := engine.Options{Dir: filepath.Join(top, fmt.Sprint(i))}
		if _, err := engine.Restore(context.Background(), a.schema, o, bytes.NewReader(file.Bytes())); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkExport(b *testing.B) {
	a := newArchive(b, archived)
	for b.Loop() {
		var n counter
		if _, err := a.db.Export(context.Background(), "", &n); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(n))
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func BenchmarkImport(b *testing.B) {
	var lines bytes.Buffer
	if _, err := newArchive(b, 10_000).db.Export(context.Background(), "", &lines); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(lines.Len()))
	for b.Loop() {
		b.StopTimer()
		a := newArchive(b, 0)
		b.StartTimer()
		if _, err := a.db.Import(context.Background(), "papers", bytes.NewReader(lines.Bytes()), engine.ImportOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(10_000*float64(b.N)/b.Elapsed().Seconds(), "documents/s")
}

// Writers go on while one backup after the other is made: how fast, compared with the time in which none is. The two are
// measured in turn, a second each.
func BenchmarkWritesDuringBackup(b *testing.B) {
	a := newArchive(b, archived)
	ctx, stop := context.WithCancel(context.Background())
	var writes atomic.Int64
	var writers sync.WaitGroup
	for w := range 16 {
		writers.Go(func() {
			for n := archived + w; ctx.Err() == nil; n += 16 {
				err := a.db.Update(context.Background(), func(tx *engine.Tx) error {
					_, err := a.papers.Insert(tx, paper{n, "writer", "short"})
					return err
				})
				if err != nil {
					b.Error(err)
					return
				}
				writes.Add(1)
			}
		})
	}
	defer writers.Wait()
	defer stop()
	var alone, beside, read float64
	for b.Loop() {
		from := writes.Load()
		time.Sleep(time.Second)
		alone += float64(writes.Load() - from)

		from = writes.Load()
		began := time.Now()
		for time.Since(began) < time.Second {
			read += float64(a.backup(b, io.Discard, 0).Bytes)
		}
		beside += float64(writes.Load()-from) / time.Since(began).Seconds()
	}
	b.ReportMetric(alone/float64(b.N), "writes/s")
	b.ReportMetric(beside/float64(b.N), "writes/s-during")
	b.ReportMetric(beside/alone, "ratio")
	b.ReportMetric(read/float64(b.N)/1e6, "MB/s-during")
}
