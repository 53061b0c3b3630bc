package doctype_test

import (
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

// message is the size of a document that most programs store most of.
type message struct {
	Room   ID[user]  `json:"room"`
	Author ID[user]  `json:"author"`
	Text   string    `json:"text" jsonschema:"minLength=1,maxLength=2000"`
	Sent   time.Time `json:"sent"`
	Likes  int       `json:"likes"`
	Tags   []string  `json:"tags" jsonschema:"maxItems=8"`
	Edited bool      `json:"edited,omitempty"`
}

func benchMessage(b *testing.B) (*doctype.Type, message, []byte) {
	dt := compile[message](b)
	m := message{
		Room: "user:7f3a9c0012", Author: "user:11aa22bb33", Text: "the quick brown fox jumps over the lazy dog, twice",
		Sent: time.Unix(1732395073, 0), Likes: 12, Tags: []string{"fox", "dog"},
	}
	raw := []byte(encode(b, dt, m))
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	return dt, m, raw
}

func BenchmarkEncode(b *testing.B) {
	dt, m, _ := benchMessage(b)
	for b.Loop() {
		if _, err := dt.Encode(&m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	dt, m, raw := benchMessage(b)
	for b.Loop() {
		if err := dt.Decode(raw, &m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	dt, _, raw := benchMessage(b)
	for b.Loop() {
		if found := dt.Validate(raw, doctype.ValidateOptions{}); len(found) > 0 {
			b.Fatal(found)
		}
	}
}

func BenchmarkOracle(b *testing.B) {
	dt, _, raw := benchMessage(b)
	o, err := dt.Oracle()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if found, err := o.Validate(raw); err != nil || len(found) > 0 {
			b.Fatal(found, err)
		}
	}
}

func BenchmarkCanonical(b *testing.B) {
	_, _, raw := benchMessage(b)
	for b.Loop() {
		if _, err := doctype.Canonical(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendStored(b *testing.B) {
	dt, _, raw := benchMessage(b)
	p := path(b, dt, "sent")
	key := make([]byte, 0, 64)
	for b.Loop() {
		if _, present, err := p.AppendStored(key, raw); err != nil || !present {
			b.Fatal(err)
		}
	}
}

func BenchmarkMerge(b *testing.B) {
	dt, _, raw := benchMessage(b)
	for b.Loop() {
		if _, err := dt.Merge(raw, raw); err != nil {
			b.Fatal(err)
		}
	}
}
