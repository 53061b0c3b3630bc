package doctype

import (
	"math"
	"math/big"
	"reflect"
	"unicode/utf8"
)

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
