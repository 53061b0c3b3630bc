package doctype_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

// The types that the engine will tell Compile about, as small as they can be.
type (
	ID[T any]  string
	Doc[T any] struct {
		ID      ID[T]
		Created time.Time
		Value   T
	}
	Int64 int64
)

func (ID[T]) target() reflect.Type { return reflect.TypeFor[T]() }

func (Doc[T]) value() reflect.Type { return reflect.TypeFor[T]() }

// options recognise the types above; an id is right if it begins with the name of its target, in small letters, and a colon.
func options() doctype.Options {
	return doctype.Options{
		IDTarget: func(t reflect.Type) (reflect.Type, bool) {
			id, ok := reflect.Zero(t).Interface().(interface{ target() reflect.Type })
			if !ok {
				return nil, false
			}
			return id.target(), true
		},
		Doc: func(t reflect.Type) (reflect.Type, bool) {
			doc, ok := reflect.Zero(t).Interface().(interface{ value() reflect.Type })
			if !ok {
				return nil, false
			}
			return doc.value(), true
		},
		Int64: reflect.TypeFor[Int64](),
		CheckID: func(target reflect.Type, id string) bool {
			return strings.HasPrefix(id, strings.ToLower(target.Name())+":")
		},
	}
}

func compile[T any](tb testing.TB) *doctype.Type {
	tb.Helper()
	dt, err := doctype.Compile(reflect.TypeFor[T](), options())
	if err != nil {
		tb.Fatalf("Compile: %v", err)
	}
	return dt
}

func encode(tb testing.TB, dt *doctype.Type, v any) string {
	tb.Helper()
	raw, err := dt.Encode(v)
	if err != nil {
		tb.Fatalf("Encode(%#v): %v", v, err)
	}
	if !json.Valid(raw) {
		tb.Fatalf("Encode(%#v) is not JSON: %s", v, raw)
	}
	return string(raw)
}

// issues renders what Validate finds as "path: rule" lines.
func issues(dt *doctype.Type, raw string, o doctype.ValidateOptions) string {
	var lines []string
	for _, i := range dt.Validate([]byte(raw), o) {
		lines = append(lines, i.Path+": "+i.Rule)
	}
	return strings.Join(lines, "\n")
}

type user struct {
	Name string `json:"name"`
}

func ptr[T any](v T) *T { return &v }
