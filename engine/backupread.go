package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/mimosadb/mimosa/engine/internal/archive"
)

// backupSource reads one backup. It stands at a record, unless it has come to the end.
type backupSource struct {
	r    *archive.Reader
	info BackupInfo // the counts grow as it is read
	ok   bool       // it stands at a record
	rec  archive.Record
	unit string
}

// openBackup reads the header and the first record.
func openBackup(r io.Reader) (*backupSource, error) {
	a, err := archive.NewReader(r)
	if err != nil {
		return nil, backupError(err)
	}
	h := a.Header()
	if h.Layout > formatVersion {
		return nil, fmt.Errorf("%w: the backup's format is %d, this one knows %d", ErrNewerFormat, h.Layout, formatVersion)
	}
	s := &backupSource{r: a, info: BackupInfo{
		At: Timestamp(h.At), Since: Timestamp(h.Since), Database: h.Database, Taken: h.Taken,
	}}
	return s, s.advance()
}

// advance goes to the next record. At the end all has been checked.
func (s *backupSource) advance() error {
	rec, err := s.r.Next()
	s.info.Bytes = s.r.Bytes()
	if errors.Is(err, io.EOF) {
		s.ok, s.unit = false, ""
		return nil
	}
	if err != nil {
		return backupError(err)
	}
	unit := unitOf(rec.Key)
	if !s.follows(rec, unit) {
		return fmt.Errorf("%w: its rows are not in order, by byte %d", ErrBackupDamaged, s.info.Bytes)
	}
	begins := unit != s.unit || s.rec.Gone // the first row of its unit
	s.ok, s.rec, s.unit = true, rec, unit
	switch space := rec.Key[0]; {
	case space == spaceDocument && rec.Gone:
		s.info.Deleted++
	case space == spaceDocument:
		s.info.Documents++
	case space == spaceSession && begins && !rec.Gone:
		s.info.Sessions++
	}
	return nil
}

// follows says whether a record may come where it comes: units ascend, and in one of them, after the record that says that
// others' rows are gone, keys do.
func (s *backupSource) follows(rec archive.Record, unit string) bool {
	if unit == "" || rec.Gone && unit != string(rec.Key) {
		return false
	}
	if !s.ok {
		return true // the first
	}
	switch compareUnits(s.unit, unit) {
	case -1:
		return true
	case 0:
		return !rec.Gone && (s.rec.Gone || bytes.Compare(s.rec.Key, rec.Key) < 0)
	}
	return false
}

// backupError gives an error of the format the name that this package has for it.
func backupError(err error) error {
	switch {
	case errors.Is(err, archive.ErrDamaged), errors.Is(err, archive.ErrForeign):
		return fmt.Errorf("%w: %w", ErrBackupDamaged, err)
	case errors.Is(err, archive.ErrNewer):
		return fmt.Errorf("%w: %w", ErrNewerFormat, err)
	}
	return err
}

// openBackups reads the headers of a chain, and checks that it is one.
func openBackups(readers []io.Reader) ([]*backupSource, error) {
	if len(readers) == 0 {
		return nil, fmt.Errorf("%w: none was given", ErrBackupChain)
	}
	var out []*backupSource
	for i, r := range readers {
		s, err := openBackup(r)
		if err != nil {
			return nil, fmt.Errorf("backup %d of %d: %w", i+1, len(readers), err)
		}
		if i == 0 {
			if s.info.Since != 0 {
				return nil, fmt.Errorf("%w: the first is incremental, since %d; begin with a full one", ErrBackupChain, s.info.Since)
			}
		} else if err := out[i-1].followedBy(s); err != nil {
			return nil, fmt.Errorf("%w: backup %d of %d %w", ErrBackupChain, i+1, len(readers), err)
		}
		out = append(out, s)
	}
	return out, nil
}

func (s *backupSource) followedBy(next *backupSource) error {
	switch {
	case next.info.Since == 0:
		return errors.New("is a full one; only the first may be")
	case next.info.Database != s.info.Database:
		return errors.New("is of another database, or of its history before or after a restore")
	case next.info.Since != s.info.At:
		return fmt.Errorf("follows one at %d, and the one before it is at %d", next.info.Since, s.info.At)
	}
	return nil
}
