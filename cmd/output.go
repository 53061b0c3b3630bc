package cmd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// output is a file that is there when it is whole: until then it has another name, beside where it will stand.
type output struct {
	*bufio.Writer
	file  *os.File
	name  string
	force bool
}

// createOutput begins a file, which only its owner may read. A file of that name stays as it is, and is an error unless force is
// set.
func createOutput(name string, force bool) (*output, error) {
	if _, err := os.Lstat(name); err == nil && !force {
		return nil, fmt.Errorf("%s exists already; choose another name, or replace it with --force", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".partial-*")
	if err != nil {
		return nil, fmt.Errorf("cannot write %s: %w", name, reason(err))
	}
	return &output{bufio.NewWriterSize(f, 256<<10), f, name, force}, nil
}

// finish puts the file, which is on disk then, under its name; after an error nothing is left of it.
func (o *output) finish(err error) error {
	if err == nil {
		err = o.Flush()
	}
	if err == nil {
		err = o.file.Sync()
	}
	if closing := o.file.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = o.publish()
	}
	if err != nil {
		_ = os.Remove(o.file.Name()) // the first error says more
		return err
	}
	return syncFolder(filepath.Dir(o.name))
}

// publish gives the file its name. Where nothing may be replaced, a second name tells whether one has come meanwhile.
func (o *output) publish() error {
	if o.force {
		return os.Rename(o.file.Name(), o.name)
	}
	switch err := os.Link(o.file.Name(), o.name); {
	case err == nil:
		return os.Remove(o.file.Name())
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s has come into being meanwhile", o.name)
	}
	return os.Rename(o.file.Name(), o.name) // a file system without second names
}

// syncFolder makes the names in a folder durable, where the system can.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil // the file itself is on disk
	}
	_ = d.Sync() // not every system knows it
	return d.Close()
}

// writeTo hands fn the file of a name, or standard output for "" and "-".
func (p *program) writeTo(name string, binary bool, fn func(io.Writer) error) error {
	if name != "" && name != "-" {
		out, err := createOutput(name, p.force)
		if err != nil {
			return err
		}
		return out.finish(fn(out))
	}
	if binary && isTerminal(p.stdout) {
		return errors.New("a backup is not for a terminal; name a file with --out")
	}
	out := bufio.NewWriterSize(p.stdout, 256<<10)
	err := fn(out)
	return errors.Join(err, out.Flush())
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && info.Mode()&os.ModeDevice != 0 && f.Name() != os.DevNull
}

// input opens a file, or standard input for "-".
func (p *program) input(name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(os.Stdin), nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, reason(err))
	}
	return f, nil
}
