package doctype

import (
	"hash/maphash"
	"sync"
	"unicode/utf8"
)

// maxName is the longest member name the wire carries.
const maxName = 1024

const (
	msgTwice   = "is given twice"
	msgName    = "has a member whose name is not 0 to 1,024 ASCII characters from space to tilde without a leading $"
	msgSpecial = "is not a well-formed $integer, $bytes or $float"
	msgNumber  = "is a number beyond what a 64-bit float holds"
)

// check settles everything that any value on the wire must satisfy, whatever its type. What passes, the rest of the package
// may step through without looking again: syntax, Unicode, depth, distinct member names, numbers that are doubles, special
// objects.
func check(raw []byte) *ValueError { return checkAt(raw, 0) }

// checkAt is check for what stands inside depth levels of something else.
func checkAt(raw []byte, depth int) *ValueError {
	if !utf8.Valid(raw) {
		return valueErr(ruleJSON, msgUnicode)
	}
	names := namePool.Get().(*[]nameSum)
	c := checker{scanner: scanner{data: raw}, seed: nameSeed, names: *names}
	defer func() {
		clear(c.names[:cap(c.names)]) // they point into raw
		if cap(c.names) <= 1024 {
			*names = c.names[:0]
			namePool.Put(names)
		}
	}()
	if err := c.value(depth); err != nil {
		return err
	}
	if !c.end() {
		return syntaxErr()
	}
	return nil
}

// nameSeed is only for finding equal names; no order and no result depends on it.
var nameSeed = maphash.MakeSeed()

// namePool lends the space for the names of open objects.
var namePool = sync.Pool{New: func() any {
	names := make([]nameSum, 0, 64)
	return &names
}}

type checker struct {
	scanner
	seed  maphash.Seed
	names []nameSum // of the objects that are open, innermost last
}

type nameSum struct {
	sum  uint64
	name []byte
}

func (c *checker) value(depth int) *ValueError {
	ok := false
	switch c.next() {
	case '{':
		return c.object(depth)
	case '[':
		return c.array(depth)
	case '"':
		var raw []byte
		var escaped bool
		if raw, escaped, ok = c.str(); ok && escaped && loneSurrogate(raw) {
			return valueErr(ruleJSON, msgUnicode)
		}
	case 't':
		ok = c.word("true")
	case 'f':
		ok = c.word("false")
	case 'n':
		ok = c.word("null")
	default:
		var tok []byte
		if tok, ok = c.number(); ok {
			if _, fits := parseFloat(tok); !fits {
				return valueErr(ruleRange, msgNumber)
			}
		}
	}
	if !ok {
		return syntaxErr()
	}
	return nil
}

func (c *checker) array(depth int) *ValueError {
	if depth >= maxDepth {
		return valueErr(ruleJSON, msgDepth)
	}
	c.pos++
	for i := 0; ; i++ {
		more, ok := c.element(i == 0)
		if !ok {
			return syntaxErr()
		}
		if !more {
			return nil
		}
		if err := c.value(depth + 1); err != nil {
			return c.locate(err, func() *ValueError { return err.at(i) })
		}
	}
}

func (c *checker) object(depth int) *ValueError {
	if member, text, ok := c.special(); ok {
		if !wellFormed(member, text) {
			return valueErr(ruleType, msgSpecial)
		}
		return nil
	}
	if depth >= maxDepth {
		return valueErr(ruleJSON, msgDepth)
	}
	c.pos++
	own := len(c.names)
	defer func() { c.names = c.names[:own] }()
	var index map[string]struct{} // takes over from comparing pairwise when there are many
	for first := true; ; first = false {
		name, more, ok := c.member(first)
		if !ok {
			return syntaxErr()
		}
		if !more {
			return nil
		}
		if !validName(name) {
			return valueErr("propertyNames", msgName)
		}
		if index == nil && len(c.names)-own >= 32 {
			index = make(map[string]struct{}, 128)
			for _, n := range c.names[own:] {
				index[string(n.name)] = struct{}{}
			}
		}
		if index != nil {
			if _, twice := index[string(name)]; twice {
				return valueErr(ruleJSON, msgTwice).under(string(name))
			}
			index[string(name)] = struct{}{}
		} else if c.seen(own, name) {
			return valueErr(ruleJSON, msgTwice).under(string(name))
		}
		if err := c.value(depth + 1); err != nil {
			return c.locate(err, func() *ValueError { return err.under(string(name)) })
		}
	}
}

// seen records a name of the innermost object and reports whether it was there already.
func (c *checker) seen(own int, name []byte) bool {
	sum := maphash.Bytes(c.seed, name)
	for _, n := range c.names[own:] {
		if n.sum == sum && string(n.name) == string(name) {
			return true
		}
	}
	c.names = append(c.names, nameSum{sum, name})
	return false
}

// locate adds to the path of an error, except for what concerns the text as a whole: where a text stops being JSON says
// nothing about the value it was to be.
func (c *checker) locate(err *ValueError, with func() *ValueError) *ValueError {
	if err.Rule == ruleJSON && err.Message != msgTwice && err.Message != msgUnicode {
		return err
	}
	return with()
}

// validName is the wire's rule for member names.
func validName(name []byte) bool {
	if len(name) > maxName || len(name) > 0 && name[0] == '$' {
		return false
	}
	for _, c := range name {
		if c < 32 || c > 126 {
			return false
		}
	}
	return true
}

// loneSurrogate reports whether a string that str accepted escapes half of a surrogate pair.
func loneSurrogate(raw []byte) bool {
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			i++
			continue
		}
		if raw[i+1] != 'u' {
			i += 2
			continue
		}
		r := hexRune(raw[i+2 : i+6])
		i += 6
		switch {
		case 0xDC00 <= r && r <= 0xDFFF:
			return true
		case 0xD800 <= r && r <= 0xDBFF:
			if i+6 > len(raw) || raw[i] != '\\' || raw[i+1] != 'u' {
				return true
			}
			if low := hexRune(raw[i+2 : i+6]); low < 0xDC00 || low > 0xDFFF {
				return true
			}
			i += 6
		}
	}
	return false
}
