package triggers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// anyChanged says whether two stored documents differ at one of the paths.
func anyChanged(before, after []byte, paths []string) (bool, error) {
	for _, path := range paths {
		differs, err := differAt(before, after, strings.Split(path, "."))
		if err != nil || differs {
			return differs, err
		}
	}
	return false, nil
}

// differAt goes down both documents by one name at a time. Only what lies on the path is decoded, and members with the same
// bytes end it early.
func differAt(before, after json.RawMessage, path []string) (bool, error) {
	for _, name := range path {
		if bytes.Equal(before, after) {
			return false, nil
		}
		var err error
		if before, err = member(before, name); err != nil {
			return false, err
		}
		if after, err = member(after, name); err != nil {
			return false, err
		}
	}
	return differ(before, after)
}

// member returns a member of an object, nil where it is missing or raw is no object.
func member(raw json.RawMessage, name string) (json.RawMessage, error) {
	if len(raw) == 0 || raw[0] != '{' {
		return nil, nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, fmt.Errorf("triggers: stored document: %w", err)
	}
	return object[name], nil
}

// differ compares two values in their canonical form: numbers are doubles, and the order of members has no meaning.
func differ(before, after json.RawMessage) (bool, error) {
	if before == nil || after == nil {
		return (before == nil) != (after == nil), nil
	}
	if bytes.Equal(before, after) {
		return false, nil
	}
	var canonical [2][]byte
	for i, raw := range [2]json.RawMessage{before, after} {
		var v any
		err := json.Unmarshal(raw, &v)
		if err == nil {
			// Marshal sorts members and spells every number in one way.
			canonical[i], err = json.Marshal(v)
		}
		if err != nil {
			return false, fmt.Errorf("triggers: stored document: %w", err)
		}
	}
	return !bytes.Equal(canonical[0], canonical[1]), nil
}
