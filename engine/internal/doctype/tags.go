package doctype

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The generator of schemas passes over a tag that it does not understand: a misspelled maxLenght would be a limit that is not
// there. So every tag is checked here, and one that would mean nothing at its field is an error of Compile.

// tagGroup is a set of keywords that apply to the same values.
type tagGroup map[string]func(value string) bool

func anyText(string) bool { return true }

func isCount(s string) bool { _, err := strconv.ParseUint(s, 10, 31); return err == nil }

func isFlag(s string) bool { return s == "true" || s == "false" }

func isPattern(s string) bool { _, err := regexp.Compile(s); return err == nil }

func isFormat(s string) bool { return formats[s] != nil }

func isNumber(s string) bool {
	return json.Valid([]byte(s)) && (s[0] == '-' || isDigit(s[0])) && check([]byte(s)) == nil
}

func isStep(s string) bool {
	if !isNumber(s) {
		return false
	}
	f, _ := parseFloat([]byte(s))
	return f > 0
}

var (
	tagsEverywhere = tagGroup{
		"title": anyText, "description": anyText,
		"oneof_required": anyText, "anyof_required": anyText, "oneof_ref": anyText, "anyof_ref": anyText,
		"oneof_type": anyText, "anyof_type": anyText,
	}
	tagsString = tagGroup{
		"minLength": isCount, "maxLength": isCount, "pattern": isPattern, "format": isFormat, "enum": anyText,
		"default": anyText, "example": anyText, "readOnly": isFlag, "writeOnly": isFlag,
	}
	tagsNumber = tagGroup{
		"multipleOf": isStep, "minimum": isNumber, "maximum": isNumber, "exclusiveMinimum": isNumber, "exclusiveMaximum": isNumber,
		"enum": isNumber, "default": isNumber, "example": isNumber,
	}
	tagsBool  = tagGroup{"default": isFlag}
	tagsArray = tagGroup{
		"minItems": isCount, "maxItems": isCount, "uniqueItems": func(s string) bool { return s == "true" }, "default": anyText,
	}
	tagsFixed = tagGroup{"uniqueItems": tagsArray["uniqueItems"]}
	tagsMap   = tagGroup{"minProperties": isCount, "maxProperties": isCount}
)

// groups gives the keywords that apply to a node's values, in the order in which the generator tries them.
func (n *node) groups() []tagGroup {
	switch n.kind {
	case kindString, kindText:
		return []tagGroup{tagsString}
	case kindInt, kindUint, kindFloat:
		return []tagGroup{tagsNumber}
	case kindBool:
		return []tagGroup{tagsBool}
	case kindSlice, kindArray:
		g := []tagGroup{tagsArray}
		if n.kind == kindArray { // its length is the type's
			g[0] = tagsFixed
		}
		if k := pointee(n.elem).kind; n.typ.Name() == "" && k != kindSlice && k != kindArray && k != kindMap {
			g = append(g, n.elem.groups()...) // keywords of the elements
		}
		return g
	case kindMap:
		return []tagGroup{tagsMap}
	case kindPointer:
		return n.elem.groups()
	}
	return nil
}

// tags checks a field's jsonschema tags.
func (b *builder) tags(f *field, where string) {
	if extras := f.tag.Get("jsonschema_extras"); extras != "" {
		for _, tag := range splitTag(extras) {
			if !strings.HasPrefix(tag, "x-") {
				b.fail(where, "jsonschema_extras %q is not an annotation: those begin with x-", tag)
			}
		}
	}
	all := f.tag.Get("jsonschema")
	if all == "" {
		return
	}
	tags := splitTag(all)
	if tags[0] == "-" {
		b.fail(where, `jsonschema:"-" would hide a field that travels; json:"-" keeps it at home`)
		return
	}
	groups := append([]tagGroup{tagsEverywhere}, f.node.groups()...)
	if f.node.kind == kindAny {
		groups = append(groups, declared(tags)...)
	}
	for _, tag := range tags {
		b.tagOne(where, tag, groups, f.node)
	}
	b.tagOrder(where, tags)
}

func (b *builder) tagOne(where, tag string, groups []tagGroup, n *node) {
	key, value, hasValue := strings.Cut(tag, "=")
	switch {
	case !hasValue && (key == "required" || key == "nullable"):
		return
	case key == "type" && n.kind == kindAny && hasValue:
		if !slices.Contains(jsonTypes, value) {
			b.fail(where, "jsonschema tag %q: no such type", tag)
		}
		return
	}
	known := false
	for _, g := range groups {
		if ok := g[key]; ok != nil {
			if known = true; hasValue && ok(value) {
				return
			}
		}
	}
	if known {
		b.fail(where, "jsonschema tag %q does not have a valid value", tag)
	} else {
		b.fail(where, "jsonschema tag %q means nothing for a %s", tag, n.typ)
	}
}

var jsonTypes = []string{"null", "boolean", "object", "array", "number", "integer", "string"}

// declared gives the keywords of a field of type any whose tag says what it holds.
func declared(tags []string) []tagGroup {
	for _, tag := range tags {
		switch tag {
		case "type=string":
			return []tagGroup{tagsString}
		case "type=number", "type=integer":
			return []tagGroup{tagsNumber}
		case "type=boolean":
			return []tagGroup{tagsBool}
		}
	}
	return nil
}

// tagOrder refuses bounds that nothing lies between.
func (b *builder) tagOrder(where string, tags []string) {
	value := func(key string) (float64, bool) {
		for _, tag := range tags {
			if v, ok := strings.CutPrefix(tag, key+"="); ok && isNumber(v) {
				return parseFloat([]byte(v))
			}
		}
		return 0, false
	}
	for _, pair := range [][2]string{
		{"minLength", "maxLength"}, {"minimum", "maximum"}, {"minItems", "maxItems"}, {"minProperties", "maxProperties"},
	} {
		low, ok1 := value(pair[0])
		if high, ok2 := value(pair[1]); ok1 && ok2 && low > high {
			b.fail(where, "jsonschema tags: %s is above %s", pair[0], pair[1])
		}
	}
}

// splitTag splits at the commas that no backslash precedes.
func splitTag(tag string) []string {
	var out []string
	var cur strings.Builder
	for i := 0; i < len(tag); i++ {
		switch {
		case tag[i] == '\\' && i+1 < len(tag) && tag[i+1] == ',':
			cur.WriteByte(',')
			i++
		case tag[i] == ',':
			out = append(out, cur.String())
			cur.Reset()
		default:
			cur.WriteByte(tag[i])
		}
	}
	return append(out, cur.String())
}

// tagCount gives the value of a counting keyword, nil if the tag is not there.
func tagCount(f *field, key string) *uint64 {
	for _, tag := range splitTag(f.tag.Get("jsonschema")) {
		if v, ok := strings.CutPrefix(tag, key+"="); ok {
			if n, err := strconv.ParseUint(v, 10, 31); err == nil {
				return &n
			}
		}
	}
	return nil
}

// tagFlag reports whether a tag stands alone in the list.
func tagFlag(f *field, flag string) bool {
	return slices.Contains(splitTag(f.tag.Get("jsonschema")), flag)
}
