package doctype_test

import (
	"fmt"
	"reflect"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
)

func Example() {
	type SendArgs struct {
		Text string   `json:"text" jsonschema:"minLength=1,maxLength=20"`
		Tags []string `json:"tags,omitempty"`
	}
	t, err := doctype.Compile(reflect.TypeFor[SendArgs](), doctype.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	raw, err := t.Encode(SendArgs{Text: "hello"})
	fmt.Println(string(raw), err)
	for _, issue := range t.Validate([]byte(`{"text":"","tags":["a",2],"to":"x"}`), doctype.ValidateOptions{}) {
		fmt.Printf("%s %s (%s)\n", issue.Path, issue.Message, issue.Rule)
	}
	// Output:
	// {"text":"hello"} <nil>
	// tags.1 must be a string (type)
	// text must have at least 1 character (minLength)
	// to is not a known member (additionalProperties)
}
