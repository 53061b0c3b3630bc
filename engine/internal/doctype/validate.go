package doctype

import (
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
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

// marked handles the shapes that want a special object, or may have one. False if they must be looked at as others are.
func (w *walker) marked(sh *shape) bool {
	want := ""
	switch sh.mark {
	case "int64":
		want = memberInteger
	case "bytes":
		want = memberBytes
	case "float":
		want = memberFloat
	default:
		return false
	}
	member, text, ok := w.special()
	if !ok || member != want {
		w.report(ruleType, sh.typeMsg)
		if !ok {
			w.pass()
		}
		return true
	}
	switch want {
	case memberBytes:
		if b, _ := parseBytes(text); sh.size >= 0 && len(b) != sh.size {
			w.reportf(ruleType, "must be %d bytes", sh.size)
		}
	case memberFloat:
		bits, _ := parse8(text)
		w.bounds(sh, math.Float64frombits(bits))
		if len(sh.enum) > 0 {
			w.report("enum", msgEnum)
		}
	}
	return true
}

func (w *walker) text(sh *shape) {
	text, _ := w.scanner.text()
	if sh.minLen >= 0 || sh.maxLen >= 0 {
		// A character has one to four bytes, so most lengths need no counting.
		if n := len(text); n < sh.minLen || sh.maxLen >= 0 && n > sh.maxLen || n < 4*sh.minLen {
			w.length(sh, utf8.RuneCount(text))
		}
	}
	if sh.pattern != nil && !sh.pattern.Match(text) {
		w.report("pattern", "does not have the required form")
	}
	if sh.formatFn != nil && !sh.formatFn(text) {
		w.report("format", msgFormat[sh.format])
	}
	if sh.target != nil {
		w.id(sh.target, string(text))
	}
}

func (w *walker) id(target reflect.Type, id string) {
	if w.t.o.CheckID != nil && !w.t.o.CheckID(target, id) {
		w.report(ruleID, "is not an id of the right collection")
	}
}

func (w *walker) length(sh *shape, n int) {
	if n < sh.minLen {
		w.reportf("minLength", "must have at least %d character%s", sh.minLen, plural(sh.minLen))
	}
	if sh.maxLen >= 0 && n > sh.maxLen {
		w.reportf("maxLength", "must have at most %d character%s", sh.maxLen, plural(sh.maxLen))
	}
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

// integral looks at a number without consuming it.
func (w *walker) integral() bool {
	start := w.pos
	tok, _ := w.scanner.number()
	w.pos = start
	_, integral, _ := parseInt(tok)
	return integral
}

func (w *walker) number(sh *shape) {
	tok, _ := w.scanner.number()
	f, _ := parseFloat(tok)
	w.bounds(sh, f)
}

// bounds is written so that NaN breaks every bound.
func (w *walker) bounds(sh *shape, f float64) {
	if b := sh.min; b != nil && !(f >= b.f) {
		w.reportf("minimum", "must be at least %s", b.text)
	}
	if b := sh.max; b != nil && !(f <= b.f) {
		w.reportf("maximum", "must be at most %s", b.text)
	}
	if b := sh.minExcl; b != nil && !(f > b.f) {
		w.reportf("exclusiveMinimum", "must be above %s", b.text)
	}
	if b := sh.maxExcl; b != nil && !(f < b.f) {
		w.reportf("exclusiveMaximum", "must be below %s", b.text)
	}
	if sh.step != "" && !isMultiple(f, sh.step) {
		w.reportf("multipleOf", "must be a multiple of %s", sh.step)
	}
}

// isMultiple computes with the decimals that people wrote: 0.3 is a multiple of 0.1, though no double near it is.
func isMultiple(f float64, step string) bool {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return false
	}
	if s, ok := plainInt([]byte(step)); ok && f == math.Trunc(f) && math.Abs(f) <= maxInt {
		return int64(f)%s == 0
	}
	value, ok1 := new(big.Rat).SetString(string(appendFloat(nil, f, 64)))
	by, ok2 := new(big.Rat).SetString(step)
	return ok1 && ok2 && value.Quo(value, by).IsInt()
}

func (w *walker) array(sh *shape) {
	var spans [][]byte
	w.pos++
	n := 0
	for ; ; n++ {
		if more, _ := w.element(n == 0); !more {
			break
		}
		start := w.pos
		if sh.items == nil {
			w.pass()
		} else {
			w.at = append(w.at, step{index: n})
			w.value(sh.items)
			w.at = w.at[:len(w.at)-1]
		}
		if sh.unique {
			spans = append(spans, w.data[start:w.pos])
		}
	}
	if n < sh.minItems {
		w.reportf("minItems", "must have at least %d element%s", sh.minItems, plural(sh.minItems))
	}
	if sh.maxItems >= 0 && n > sh.maxItems {
		w.reportf("maxItems", "must have at most %d element%s", sh.maxItems, plural(sh.maxItems))
	}
	if sh.unique && !distinct(spans) {
		w.report("uniqueItems", "has the same element twice")
	}
}

func distinct(values [][]byte) bool {
	seen := make(map[string]struct{}, len(values))
	for _, v := range values {
		c := string(appendCanonical(nil, v))
		if _, twice := seen[c]; twice {
			return false
		}
		seen[c] = struct{}{}
	}
	return true
}

func (w *walker) object(sh *shape) {
	system := w.o.Doc && len(w.at) == 0
	var few [1]uint64 // enough bits for most objects
	seen := few[:]
	if len(sh.props) > 64 {
		seen = make([]uint64, (len(sh.props)+63)/64)
	}
	hasID, hasTime := false, false
	w.pos++
	n, next := 0, 0
	for ; ; n++ {
		name, more, _ := w.member(n == 0)
		if !more {
			break
		}
		i, known := next, false
		if i < len(sh.props) && sh.props[i].name == string(name) {
			known = true
		} else {
			i, known = sh.byName[string(name)]
		}
		w.at = append(w.at, step{name: name})
		switch {
		case known:
			next = i + 1
			seen[i/64] |= 1 << (i % 64)
			w.value(sh.props[i].shape)
		case system && string(name) == memberID:
			hasID = true
			w.system(isStr, "string")
		case system && string(name) == memberCreated:
			hasTime = true
			w.system(isNum, "number")
		default:
			w.unknown(sh, name)
		}
		if sh.keys != nil && !(system && strings.HasPrefix(view(name), "_")) {
			w.key(sh.keys, name)
		}
		w.at = w.at[:len(w.at)-1]
	}
	for i := range sh.props {
		if p := &sh.props[i]; p.required && seen[i/64]&(1<<(i%64)) == 0 {
			w.reportAt(p.name, "required", msgRequired)
		}
	}
	if system && !hasID {
		w.reportAt(memberID, "required", msgRequired)
	}
	if system && !hasTime {
		w.reportAt(memberCreated, "required", msgRequired)
	}
	if n < sh.minProps {
		w.reportf("minProperties", "must have at least %d member%s", sh.minProps, plural(sh.minProps))
	}
	if sh.maxProps >= 0 && n > sh.maxProps {
		w.reportf("maxProperties", "must have at most %d member%s", sh.maxProps, plural(sh.maxProps))
	}
}

// system looks at the value of _id or _creationTime.
func (w *walker) system(want types, name string) {
	sh := shape{own: true, types: want, typeMsg: msgType[name], minLen: -1, maxLen: -1}
	if want == isStr {
		sh.target = w.t.typ
	}
	w.value(&sh)
}

// unknown looks at a member that the shape does not name; the path is the member's.
func (w *walker) unknown(sh *shape, name []byte) {
	switch {
	case sh.rest != nil:
		w.value(sh.rest)
		return
	case sh.closed && !w.o.AllowUnknown:
		w.report("additionalProperties", msgUnknown)
	}
	w.pass()
}

// key checks a member's name; the path is the member's.
func (w *walker) key(sh *shape, name []byte) {
	if sh.target != nil {
		w.id(sh.target, string(name))
		return
	}
	k := walker{scanner: scanner{data: appendString(nil, string(name))}, t: w.t}
	k.value(sh)
	if k.bad > 0 {
		w.report("propertyNames", msgKey)
	}
}
