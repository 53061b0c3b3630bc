package doctype

import (
	"fmt"
	"strings"
)

// HasPath returns an error when the wire form of the type has no member at a dotted path. Unlike Path it takes paths to values
// that cannot be indexed, such as objects and lists. What lies below a map, any or a type that encodes itself is not known, so
// every path into it is there.
func (t *Type) HasPath(path string) error {
	n := t.root
	for name := range strings.SplitSeq(path, ".") {
		for n.kind == kindPointer || n.kind == kindDoc || n.kind == kindStored {
			n = n.elem
		}
		switch n.kind {
		case kindStruct:
			f := n.field([]byte(name))
			if f == nil {
				return fmt.Errorf("doctype: %s has no path %q", t.typ, path)
			}
			n = f.node
		case kindMap:
			n = n.elem
		case kindAny, kindRaw, kindJSON:
			return nil
		default:
			return fmt.Errorf("doctype: %s has no path %q", t.typ, path)
		}
	}
	return nil
}

// Member finds the value at a dotted path of JSON, as AppendStored does: through objects, by the exact names. found is false
// where there is none, or where raw is not JSON. The value shares the memory of raw.
func Member(raw []byte, path string) (value []byte, found bool) {
	value, found, _ = locate(raw, strings.Split(path, "."))
	return value, found
}
