package badgerstore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Files of the store's own in the data folder, beside Badger's.
const (
	formatFile = "mimosa.format"
	markFile   = "mimosa.mark"
)

// format is the version of all that this package writes: keyspaces, rows, files, and the way it uses Badger. A store reads
// its own version and older ones, and refuses newer ones.
//
// Format 2 has two floors in one row, and redo chunks: an older program would take a group that is only half applied for none.
const format = 2

const formatLine = "mimosa badgerstore format %d\n"

// prepareFolder creates the folder if need be and sees to it that it can be written to. It touches nothing in it.
func prepareFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("badgerstore: create %s: %w: %w", dir, ErrNotWritable, err)
	}
	probe, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return fmt.Errorf("badgerstore: open %s: %w: %w", dir, ErrNotWritable, err)
	}
	if err := errors.Join(probe.Close(), os.Remove(probe.Name())); err != nil {
		return fmt.Errorf("badgerstore: open %s: %w: %w", dir, ErrNotWritable, err)
	}
	return nil
}

// checkFormat refuses a folder that this version cannot read, and marks a new one as its own. The caller holds the lock.
func checkFormat(dir string) error {
	path := filepath.Join(dir, formatFile)
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// The format is written before Badger's first file. A manifest without it is somebody else's.
		if _, err := os.Stat(filepath.Join(dir, "MANIFEST")); err == nil {
			return fmt.Errorf("badgerstore: open %s: %w", dir, ErrForeign)
		}
		return writeFormat(dir)
	case err != nil:
		return fmt.Errorf("badgerstore: open %s: %w", dir, err)
	}
	var found int
	if _, err := fmt.Sscanf(string(b), formatLine, &found); err != nil || found < 1 {
		return fmt.Errorf("badgerstore: open %s: %s says %q: %w", dir, formatFile, b, ErrForeign)
	}
	if found > format {
		return fmt.Errorf("badgerstore: open %s: format %d, this program knows up to %d: %w", dir, found, format, ErrNewerFormat)
	}
	return nil
}

// writeFormat marks a folder as of this version's format, if it is not.
func writeFormat(dir string) error {
	path, line := filepath.Join(dir, formatFile), fmt.Appendf(nil, formatLine, format)
	if b, err := os.ReadFile(path); err == nil && bytes.Equal(b, line) {
		return nil
	}
	if err := writeFile(path, line); err != nil {
		return fmt.Errorf("badgerstore: open %s: %w: %w", dir, ErrNotWritable, err)
	}
	return nil
}

// writeFile writes a small file so that it is there with its whole content or not at all, also after a power failure.
func writeFile(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when all went well
	_, err = f.Write(content)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// removeEmptyFiles removes write-ahead and value logs of no length. A process that is killed between creating such a file and
// giving it its size leaves one behind, and Badger then fails to open the database, once. Nothing can be lost with them. The
// caller holds the lock: a file that another process has just created must not be touched.
func removeEmptyFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("badgerstore: open %s: %w", dir, err)
	}
	var removed []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".mem") && !strings.HasSuffix(e.Name(), ".vlog") || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return removed, fmt.Errorf("badgerstore: open %s: %w", dir, err)
		}
		if info.Size() > 0 {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return removed, fmt.Errorf("badgerstore: open %s: %w", dir, err)
		}
		removed = append(removed, e.Name())
	}
	return removed, nil
}
