package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/engine/storage/badgerstore"
)

// failure marks an error of a command, which is for the person who started the program to read.
type failure struct{ err error }

// Error returns the error's text on one line.
func (f *failure) Error() string { return oneLine(f.err) }

func (f *failure) Unwrap() error { return f.err }

// misuse is an error of the command line that cobra cannot see: the value of a flag.
type misuse string

func (m misuse) Error() string { return string(m) }

// oneLine joins the lines of an error, which joined errors have.
func oneLine(err error) string {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}

// windowsInUse is EADDRINUSE as Windows has it, where syscall.EADDRINUSE is something else.
const windowsInUse = syscall.Errno(10048)

// explainListen says why a port could not be had, and what to do.
func explainListen(err error, addr, flag string) error {
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, windowsInUse):
		return fmt.Errorf("%s is in use by another program; end that one, or choose another address with %s", addr, flag)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("not allowed to listen on %s; choose a port above 1023 with %s", addr, flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s is not an address of this machine; choose another with %s", addr, flag)
	case errors.As(err, &dns):
		return fmt.Errorf("the host or port of %s is not known; choose another address with %s", addr, flag)
	}
	return fmt.Errorf("cannot listen on %s: %w", addr, reason(err))
}

// explainData says why a data folder could not be opened, and what to do.
func explainData(err error, dir string) error {
	switch {
	case errors.Is(err, badgerstore.ErrLocked):
		return fmt.Errorf("the data folder %s is in use by another program; end that one, or choose another folder with --data", dir)
	case errors.Is(err, badgerstore.ErrNotWritable):
		return fmt.Errorf("the data folder %s cannot be written to (%w); choose another with --data", dir, reason(err))
	case isPermission(err):
		return fmt.Errorf("the data folder %s cannot be written to, or a file in it (permission denied); see whose they are, or choose another folder with --data", dir)
	case errors.Is(err, storage.ErrFull):
		return explainFull(dir)
	case errors.Is(err, engine.ErrRestoreUnfinished):
		return fmt.Errorf("a restore into the data folder %s was not finished; remove the folder, and restore again", dir)
	case errors.Is(err, badgerstore.ErrNewerFormat), errors.Is(err, engine.ErrNewerFormat):
		return fmt.Errorf("the data folder %s was written by a newer version of this program (%w); use that one, or choose another folder with --data", dir, err)
	case errors.Is(err, badgerstore.ErrForeign):
		return fmt.Errorf("the data folder %s holds the data of another program; choose another folder with --data", dir)
	case errors.Is(err, engine.ErrInvalid):
		return fmt.Errorf("cannot open the database in %s: %w; the command check lists all that is wrong, and backup and export work", dir, err)
	}
	return fmt.Errorf("cannot open the database in %s: %w", dir, err)
}

// explainRestore says why a restore failed. What it leaves is not opened.
func explainRestore(err error, dir string) error {
	if data := explainData(err, dir); !strings.HasPrefix(data.Error(), "cannot open") {
		return data
	}
	if entries, _ := os.ReadDir(dir); len(entries) == 0 {
		return err // nothing was begun
	}
	return fmt.Errorf("%w; nothing can be done with what is in %s now but to remove it", err, dir)
}

// explainFull says that the disk is full and what to do. The store refuses to write before nothing is left.
func explainFull(dir string) error {
	return fmt.Errorf("there is too little disk space left for the data folder %s; free a quarter of the disk, or 256 MiB of a large one, or choose another folder with --data", dir)
}

// isPermission also knows what Badger says of its own files, of which it keeps the text alone.
func isPermission(err error) bool {
	return errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), fs.ErrPermission.Error())
}

// reason is what the operating system said, without what was being done, which the line says already.
func reason(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
