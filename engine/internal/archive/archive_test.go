package archive_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"github.com/mimosadb/mimosa/engine/internal/archive"
)

var header = archive.Header{Layout: 1, Database: "d", Since: 3, At: 7, Taken: time.Unix(1, 0).UTC()}

func write(t interface{ Fatal(...any) }, records []archive.Record) []byte {
	var b bytes.Buffer
	w, err := archive.NewWriter(&b, header)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		put := func() error { return w.Put(r.Key, r.Value) }
		if r.Gone {
			put = func() error { return w.Gone(r.Key) }
		}
		if err := put(); err != nil {
			t.Fatal(err)
		}
	}
	trailer, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if trailer.Records != int64(len(records)) || w.Bytes() != int64(b.Len()) {
		t.Fatal("trailer:", trailer, "bytes:", w.Bytes(), "of", b.Len())
	}
	return b.Bytes()
}

// read returns what a file holds, and how it ended: nil for a whole one.
func read(r io.Reader) (records []archive.Record, h archive.Header, err error) {
	a, err := archive.NewReader(r)
	if err != nil {
		return nil, h, err
	}
	for {
		rec, err := a.Next()
		if errors.Is(err, io.EOF) {
			return records, a.Header(), nil
		}
		if err != nil {
			if _, again := a.Next(); !errors.Is(again, err) {
				return nil, h, errors.New("the error is not returned again")
			}
			return records, a.Header(), err
		}
		records = append(records, rec)
	}
}

func same(a, b archive.Record) bool {
	return a.Gone == b.Gone && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value)
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		record := rapid.Custom(func(rt *rapid.T) archive.Record {
			r := archive.Record{Gone: rapid.Bool().Draw(rt, "gone"), Key: rapid.SliceOf(rapid.Byte()).Draw(rt, "key")}
			if !r.Gone {
				r.Value = bytes.Repeat([]byte{rapid.Byte().Draw(rt, "value")}, rapid.SampledFrom([]int{0, 1, 100, 70_000, 1 << 20}).Draw(rt, "size"))
			}
			return r
		})
		want := rapid.SliceOfN(record, 0, 20).Draw(rt, "records")
		file := write(rt, want)
		var from io.Reader = bytes.NewReader(file)
		if rapid.Bool().Draw(rt, "slowly") && len(file) < 1<<16 {
			from = iotest.OneByteReader(from)
		}
		got, h, err := read(from)
		if err != nil {
			rt.Fatal(err)
		}
		if h.Database != header.Database || h.Since != header.Since || h.At != header.At || !h.Taken.Equal(header.Taken) || h.Format != archive.Format {
			rt.Fatalf("header %+v", h)
		}
		if !slices.EqualFunc(got, want, same) {
			rt.Fatalf("got %d records, want %d", len(got), len(want))
		}
	})
}

// sample has several frames, a small one and one larger than others.
func sample(t *testing.T) []byte {
	var records []archive.Record
	for i := range 400 {
		records = append(records, archive.Record{Key: binary.BigEndian.AppendUint32([]byte{'k'}, uint32(i)), Value: bytes.Repeat([]byte{byte(i)}, 500)})
	}
	return write(t, append(records, archive.Record{Gone: true, Key: []byte("z")}))
}

// frames are the frames of a file, whole, the magic first.
func frames(file []byte) [][]byte {
	out := [][]byte{file[:len(archive.Magic)]}
	for rest := file[len(archive.Magic):]; len(rest) > 0; {
		n := 1 + 4 + int(binary.BigEndian.Uint32(rest[1:])) + 4
		out = append(out, rest[:n])
		rest = rest[n:]
	}
	return out
}

func TestDamageOfEveryByte(t *testing.T) {
	t.Parallel()
	file := write(t, []archive.Record{{Key: []byte("a"), Value: []byte("one")}, {Gone: true, Key: []byte("b")}, {Key: []byte("c"), Value: []byte("two")}})
	for i := range file {
		for bit := range 8 {
			damaged := bytes.Clone(file)
			damaged[i] ^= 1 << bit
			_, _, err := read(bytes.NewReader(damaged))
			want := archive.ErrDamaged
			if i < len(archive.Magic) {
				want = archive.ErrForeign
			}
			if !errors.Is(err, want) {
				t.Fatalf("bit %d of byte %d: %v, want %v", bit, i, err, want)
			}
		}
	}
}

func TestTruncationAtEveryByte(t *testing.T) {
	t.Parallel()
	file := write(t, []archive.Record{{Key: []byte("a"), Value: []byte("one")}, {Key: []byte("c"), Value: []byte("two")}})
	for n := range file {
		_, _, err := read(bytes.NewReader(file[:n]))
		want := archive.ErrDamaged
		if n < len(archive.Magic) {
			want = archive.ErrForeign
		}
		if !errors.Is(err, want) {
			t.Fatalf("%d bytes: %v, want %v", n, err, want)
		}
	}
}

// Frames whose own checksums are right, but that are not those of this file in this order.
func TestFramesOutOfPlace(t *testing.T) {
	t.Parallel()
	whole := frames(sample(t))
	if len(whole) < 5 {
		t.Fatalf("only %d frames", len(whole))
	}
	check := func(name string, f [][]byte) {
		if _, _, err := read(bytes.NewReader(slices.Concat(f...))); !errors.Is(err, archive.ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
	for i := 2; i < len(whole)-1; i++ {
		check("left out", slices.Delete(slices.Clone(whole), i, i+1))
		check("doubled", slices.Insert(slices.Clone(whole), i, whole[i]))
		swapped := slices.Clone(whole)
		swapped[i], swapped[i-1] = swapped[i-1], swapped[i]
		check("swapped", swapped)
	}
	check("no trailer", whole[:len(whole)-1])
	check("something follows", append(slices.Clone(whole), []byte{0}))
	check("no header", slices.Delete(slices.Clone(whole), 1, 2))
}

// A frame of records can be replaced by another one with a right checksum, and the trailer still tells.
func TestTrailerTells(t *testing.T) {
	t.Parallel()
	a := frames(write(t, []archive.Record{{Key: []byte("k"), Value: []byte("one")}}))
	b := frames(write(t, []archive.Record{{Key: []byte("k"), Value: []byte("two")}}))
	if _, _, err := read(bytes.NewReader(slices.Concat(a[0], a[1], b[2], a[3]))); !errors.Is(err, archive.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}

// A length that was made up must not be believed.
func TestAbsurdLength(t *testing.T) {
	t.Parallel()
	whole := frames(sample(t))
	head := []byte{'r', 0xff, 0xff, 0xff, 0xff}
	if _, _, err := read(io.MultiReader(bytes.NewReader(slices.Concat(whole[0], whole[1], head)), strings.NewReader(strings.Repeat("x", 1<<20)))); !errors.Is(err, archive.ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}

func TestNewerFormat(t *testing.T) {
	t.Parallel()
	payload := []byte(`{"format":99}`)
	head := binary.BigEndian.AppendUint32([]byte{'h'}, uint32(len(payload)))
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(crc32.Update(crc32.Update(0, table, make([]byte, 8)), table, head), table, payload)
	file := slices.Concat([]byte(archive.Magic), head, payload, binary.BigEndian.AppendUint32(nil, sum))
	if _, err := archive.NewReader(bytes.NewReader(file)); !errors.Is(err, archive.ErrNewer) {
		t.Errorf("got %v, want ErrNewer", err)
	}
}

func TestForeign(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "mimosa", "{\"_id\":\"a document\"}\n{}\n"} {
		if _, err := archive.NewReader(strings.NewReader(s)); !errors.Is(err, archive.ErrForeign) {
			t.Errorf("%q: %v, want ErrForeign", s, err)
		}
	}
}

var errDisk = errors.New("disk")

// An error of what is read is not the file's damage.
func TestReadError(t *testing.T) {
	t.Parallel()
	file := sample(t)
	for _, n := range []int{0, 5, 30, len(file) / 2, len(file)} {
		_, _, err := read(io.MultiReader(bytes.NewReader(file[:n]), iotest.ErrReader(errDisk)))
		if !errors.Is(err, errDisk) || errors.Is(err, archive.ErrDamaged) {
			t.Errorf("after %d bytes: %v, want the reader's error", n, err)
		}
	}
}

type limited struct{ left int }

func (l *limited) Write(b []byte) (int, error) {
	if l.left -= len(b); l.left < 0 {
		return 0, errDisk
	}
	return len(b), nil
}

// A writer that has failed never says that the file is whole.
func TestWriteError(t *testing.T) {
	t.Parallel()
	size := len(write(t, []archive.Record{{Key: []byte("k"), Value: []byte("v")}}))
	for n := range size {
		w, err := archive.NewWriter(&limited{n}, header)
		if err == nil {
			_ = w.Put([]byte("k"), []byte("v")) // it may be buffered; Close tells
			_, err = w.Close()
		}
		if !errors.Is(err, errDisk) {
			t.Fatalf("with room for %d of %d bytes: %v", n, size, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(write(f, []archive.Record{{Key: []byte("a"), Value: []byte("one")}, {Gone: true, Key: []byte("b")}}))
	f.Add([]byte(archive.Magic))
	f.Fuzz(func(t *testing.T, file []byte) {
		records, _, err := read(bytes.NewReader(file))
		if err == nil && len(file) < len(archive.Magic) {
			t.Fatalf("%d records of %d bytes", len(records), len(file))
		}
	})
}
