package doctype

import "strings"

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
