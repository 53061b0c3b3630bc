package doctype

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// ValidateOptions say what Validate is looking at. The zero value is for arguments and for documents about to be stored.
type ValidateOptions struct {
	// AllowUnknown lets members pass that the type does not know, for documents that another program stored.
	AllowUnknown bool
	// Doc says that the members _id and _creationTime stand beside those of the type, as in a stored document.
	Doc bool
}

// maxIssues bounds the answer to a value with an error at every turn.
const maxIssues = 100

const (
	msgRequired = "is missing"
	msgUnknown  = "is not a known member"
	msgKey      = "is not an allowed name"
)

// Validate reports how raw fails to be a value of the type: no issues means that it is one. It reads what was sent, not what
// Go would make of it, and never panics, whatever the bytes. What is not JSON for the wire at all has one issue. Issues are
// sorted by path and rule; there are at most 100.
//
// A member is required unless its field says omitempty or omitzero; "" is there, as far as that rule goes.
func (t *Type) Validate(raw []byte, o ValidateOptions) []Issue {
	if err := check(raw); err != nil {
		return []Issue{err.Issue()}
	}
	at := stepPool.Get().(*[]step)
	w := walker{scanner: scanner{data: raw}, t: t, o: o, at: *at}
	w.value(t.shape)
	clear(w.at[:cap(w.at)]) // they point into raw
	*at = w.at[:0]
	stepPool.Put(at)
	return tidy(w.issues)
}

// stepPool lends the space for the path to where a walker is.
var stepPool = sync.Pool{New: func() any {
	at := make([]step, 0, 16)
	return &at
}}

// A walker takes a value that check accepted along a shape. Every method consumes exactly the value it looks at.
type walker struct {
	scanner
	t      *Type
	o      ValidateOptions
	at     []step
	issues []Issue
	bad    int // issues found, kept or not
}

// A step of the path is a member's name or, if that is nil, an index.
type step struct {
	name  []byte
	index int
}

func (w *walker) path(more ...string) string {
	parts := make([]string, 0, len(w.at)+len(more))
	for _, s := range w.at {
		if s.name == nil {
			parts = append(parts, strconv.Itoa(s.index))
		} else {
			parts = append(parts, clip(string(s.name)))
		}
	}
	for _, m := range more {
		parts = append(parts, clip(m))
	}
	return strings.Join(parts, ".")
}

func (w *walker) report(rule, message string) {
	w.bad++
	if len(w.issues) < maxIssues {
		w.issues = append(w.issues, Issue{w.path(), rule, message})
	}
}

func (w *walker) reportf(rule, format string, args ...any) {
	w.report(rule, fmt.Sprintf(format, args...))
}

func (w *walker) reportAt(name, rule, message string) {
	w.at = append(w.at, step{name: []byte(name)})
	w.report(rule, message)
	w.at = w.at[:len(w.at)-1]
}

// pass consumes a value without looking at it.
func (w *walker) pass() { _ = w.skip(0) }

func (w *walker) value(sh *shape) {
	c := w.next()
	switch {
	case sh.free:
		w.pass()
		return
	case sh.never:
		w.report("not", "is not allowed")
		w.pass()
		return
	case sh.nullable && c == 'n':
		w.pass()
		return
	}
	// Each of the following takes the value from its start.
	start := w.pos
	for _, s := range sh.all {
		w.pos = start
		w.value(s)
	}
	if len(sh.any) > 0 && w.matches(sh.any, start) == 0 {
		w.report("anyOf", "fits none of the allowed forms")
	}
	if len(sh.one) > 0 && w.matches(sh.one, start) != 1 {
		w.report("oneOf", "does not fit exactly one of the allowed forms")
	}
	if sh.general != nil {
		w.pos = start
		w.pass()
		w.generally(sh.general, w.data[start:w.pos])
	}
	if sh.own {
		w.pos = start
		w.own(sh, c)
	}
}

// matches counts the shapes that the value at start fits.
func (w *walker) matches(shapes []*shape, start int) (n int) {
	for _, s := range shapes {
		bad, kept := w.bad, len(w.issues)
		w.pos = start
		w.value(s)
		if w.bad == bad {
			n++
		}
		w.bad, w.issues = bad, w.issues[:kept]
	}
	return n
}

func (w *walker) generally(g *general, raw []byte) {
	g.check(raw, func(path []string, rule, message string) {
		if rule == "additionalProperties" && w.o.AllowUnknown {
			return
		}
		w.bad++
		if len(w.issues) < maxIssues {
			w.issues = append(w.issues, Issue{w.path(path...), rule, message})
		}
	})
}

// own checks what the shape itself says about the value, whose first byte is c.
func (w *walker) own(sh *shape, c byte) {
	start := w.pos
	var got types
	switch c {
	case '"':
		got = isStr
	case '{':
		got = isObj
		if sh.mark != "" && w.marked(sh) || w.stray(sh) {
			return
		}
	case '[':
		got = isArr
	case 't', 'f':
		got = isBool
	case 'n':
		got = isNull
	default:
		got = isNum
	}
	if sh.types != 0 && sh.types&got == 0 || sh.integer && got == isNum && !w.integral() {
		w.report(ruleType, sh.typeMsg)
		w.pass()
		return
	}
	// What is not one of the allowed values breaks no other rule worth telling.
	if len(sh.enum) > 0 {
		if w.pass(); !sh.allows(w.data[start:w.pos]) {
			w.report("enum", msgEnum)
			return
		}
		w.pos = start
	}
	switch got {
	case isStr:
		w.text(sh)
	case isNum:
		w.number(sh)
	case isArr:
		w.array(sh)
	case isObj:
		w.object(sh)
	default:
		w.pass()
	}
}

// allows reports whether enum has a value. Most are strings, spelled as they are everywhere.
func (sh *shape) allows(raw []byte) bool {
	if slices.Contains(sh.enum, view(raw)) {
		return true
	}
	return slices.Contains(sh.enum, string(appendCanonical(nil, raw)))
}

const msgEnum = "is not one of the allowed values"

// stray refuses a special object where an ordinary one is to stand.
func (w *walker) stray(sh *shape) bool {
	if sh.types&isObj == 0 && len(sh.props) == 0 && !sh.closed && sh.rest == nil {
		return false // does not matter, or is refused anyway
	}
	start := w.pos
	member, _, ok := w.special()
	if !ok {
		return false
	}
	if _, known := sh.byName[member]; known || len(sh.enum) > 0 {
		w.pos = start
		return false
	}
	w.report(ruleType, msgType["object"])
	return true
}
