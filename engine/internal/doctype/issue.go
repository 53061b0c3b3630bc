package doctype

import (
	"cmp"
	"slices"
	"strconv"
)

// The rules that are not JSON Schema keywords.
const (
	ruleJSON  = "json"  // not JSON that the wire accepts
	ruleRange = "range" // a number, a time or a nesting beyond what the wire carries
	ruleID    = "id"    // malformed, or an id of another collection
	ruleType  = "type"
)

// An Issue is one way in which a value does not fit its type. Message is a short text of our own that never repeats the value,
// so it can be logged and sent to whoever sent the value.
type Issue struct {
	Path    string `json:"path"`    // dotted, 'items.0.name'; '' is the whole value
	Rule    string `json:"rule"`    // the JSON Schema keyword, or "id", "json", "range"
	Message string `json:"message"` // for people; not stable
}

// A ValueError says that a Go value cannot be encoded, raw JSON cannot be decoded into its type, or a value given for an index
// path does not fit it. It is returned as *ValueError.
type ValueError struct {
	Path    string // dotted, as in Issue
	Rule    string // as in Issue
	Message string
}

// Error implements error.
func (e *ValueError) Error() string {
	if e.Path == "" {
		return "doctype: the value " + e.Message
	}
	return "doctype: " + e.Path + " " + e.Message
}

// Issue gives the error as an issue, so that callers report both kinds alike.
func (e *ValueError) Issue() Issue { return Issue(*e) }

func valueErr(rule, message string) *ValueError {
	return &ValueError{Rule: rule, Message: message}
}

// under puts a member's name in front of the path, as an error travels up from where it happened. Paths are built only on the
// way out of a failure; the good case pays nothing for them.
func (e *ValueError) under(name string) *ValueError {
	name = clip(name)
	if e.Path == "" {
		e.Path = name
	} else {
		e.Path = name + "." + e.Path
	}
	return e
}

func (e *ValueError) at(i int) *ValueError { return e.under(strconv.Itoa(i)) }

// clipLen bounds what one member name adds to a path: names of unknown members come from the sender.
const clipLen = 128

func clip(name string) string {
	if len(name) <= clipLen {
		return name
	}
	cut := clipLen
	for cut > 0 && name[cut]&0xC0 == 0x80 { // not inside a character
		cut--
	}
	return name[:cut] + "…"
}

// tidy sorts by path and rule and drops what two keywords said twice.
func tidy(issues []Issue) []Issue {
	if len(issues) < 2 {
		return issues
	}
	slices.SortStableFunc(issues, func(a, b Issue) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Rule, b.Rule))
	})
	return slices.CompactFunc(issues, func(a, b Issue) bool { return a.Path == b.Path && a.Rule == b.Rule })
}
