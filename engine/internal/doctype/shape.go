package doctype

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/invopop/jsonschema"
)

// types is a set of JSON types.
type types uint8

const (
	isNull types = 1 << iota
	isBool
	isNum
	isStr
	isArr
	isObj
)

var typeNames = map[string]types{
	"null": isNull, "boolean": isBool, "number": isNum, "integer": isNum, "string": isStr, "array": isArr, "object": isObj,
}

var msgType = map[string]string{
	"null": "must be null", "boolean": "must be true or false", "number": "must be a number", "integer": "must be an integer",
	"string": "must be a string", "array": "must be an array", "object": "must be an object",
	"int64": "must be a 64-bit integer", "bytes": "must be bytes", "time": "must be a time",
}

// A shape is a schema compiled for walking raw bytes. Shapes of recursive types are cyclic; they do not change once compiled.
type shape struct {
	free  bool // everything passes
	never bool // nothing passes

	nullable bool     // null passes, whatever else is asked
	all      []*shape // hold too; a reference is one of these
	any, one []*shape // at least one holds; exactly one holds
	general  *general // the keywords that only a general validator knows
	own      bool     // there is something to check below

	types   types // 0: all
	integer bool
	mark    string // of extraType
	typeMsg string
	target  reflect.Type // of an id
	size    int          // of bytes, -1 if any
	enum    []string     // canonical
	min     *bound
	max     *bound
	minExcl *bound
	maxExcl *bound
	step    string // of multipleOf

	minLen, maxLen     int // -1: none
	pattern            *regexp.Regexp
	format             string
	formatFn           formatFunc
	items              *shape
	minItems, maxItems int
	unique             bool
	props              []property
	byName             map[string]int
	rest               *shape // of members that props does not know
	closed             bool   // there may be none
	keys               *shape // of member names
	minProps, maxProps int
}

type property struct {
	name     string
	shape    *shape
	required bool
}

type bound struct {
	f    float64
	text string
}

type shaper struct {
	*schemaDoc
	defs map[string]*shape
	err  error
}

func compileShape(s *schemaDoc) (*shape, error) {
	c := &shaper{schemaDoc: s, defs: map[string]*shape{}}
	sh := c.shape(s.root)
	return sh, c.err
}

func (c *shaper) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *shaper) shapes(list []*jsonschema.Schema) []*shape {
	out := make([]*shape, len(list))
	for i, s := range list {
		out[i] = c.shape(s)
	}
	return out
}

// shape compiles a schema.
func (c *shaper) shape(s *jsonschema.Schema) *shape {
	sh := &shape{}
	c.fill(sh, s)
	return sh
}

func (c *shaper) ref(s *jsonschema.Schema) *shape {
	name := strings.TrimPrefix(s.Ref, "#/$defs/")
	if sh := c.defs[name]; sh != nil {
		return sh
	}
	sh := &shape{}
	c.defs[name] = sh // before it is filled: it may refer to itself
	c.fill(sh, c.schemaDoc.defs[name])
	return sh
}

// fill compiles s into sh.
func (c *shaper) fill(sh *shape, s *jsonschema.Schema) {
	sh.minLen, sh.maxLen, sh.minItems, sh.maxItems, sh.minProps, sh.maxProps, sh.size = -1, -1, -1, -1, -1, -1, -1
	switch verdict(s) {
	case "true":
		sh.free = true
		return
	case "false":
		sh.never = true
		return
	}
	s, sh.general = c.split(s)
	if s.Ref != "" {
		sh.all = append(sh.all, c.ref(s))
	}
	sh.all = append(sh.all, c.shapes(s.AllOf)...)
	if inner, ok := orNull(s); ok {
		sh.nullable = true
		sh.all = append(sh.all, c.shape(inner))
	} else {
		sh.any, sh.one = c.shapes(s.AnyOf), c.shapes(s.OneOf)
	}
	c.scalar(sh, s)
	c.number(sh, s)
	c.text(sh, s)
	c.array(sh, s)
	c.object(sh, s)
	sh.free = !sh.own && sh.general == nil && sh.all == nil && len(sh.any) == 0 && len(sh.one) == 0
}

// verdict tells the two boolean schemas from the others.
func verdict(s *jsonschema.Schema) string {
	if s == jsonschema.TrueSchema || s == jsonschema.FalseSchema || reflect.DeepEqual(s, &jsonschema.Schema{}) ||
		reflect.DeepEqual(s, jsonschema.FalseSchema) {
		b, _ := json.Marshal(s)
		return string(b)
	}
	return ""
}

// orNull recognises {anyOf: [x, null]}, which is how a pointer is described.
func orNull(s *jsonschema.Schema) (*jsonschema.Schema, bool) {
	list := s.AnyOf
	if len(list) == 0 {
		list = s.OneOf
	}
	if len(s.AnyOf)+len(s.OneOf) != 2 || len(list) != 2 || s.Type != "" || s.Ref != "" || len(s.Enum) > 0 {
		return nil, false
	}
	null := jsonschema.Schema{Type: "null"}
	return list[0], reflect.DeepEqual(*list[1], null) && list[0].Type != "" || list[0].Ref != "" && reflect.DeepEqual(*list[1], null)
}

func (c *shaper) scalar(sh *shape, s *jsonschema.Schema) {
	if s.Type != "" {
		sh.types = typeNames[s.Type]
		if sh.types == 0 {
			c.fail("%q is not a JSON type", s.Type)
		}
		sh.integer = s.Type == "integer"
		sh.typeMsg = msgType[s.Type]
		sh.own = true
	}
	values := s.Enum
	if s.Const != nil {
		values = append(values[:len(values):len(values)], s.Const)
	}
	for _, v := range values {
		raw, err := json.Marshal(v)
		if err == nil {
			raw, err = Canonical(raw)
		}
		if err != nil {
			c.fail("a value of enum cannot travel: %w", err)
			return
		}
		sh.enum = append(sh.enum, string(raw))
		sh.own = true
	}
	sh.mark, _ = s.Extras[extraType].(string)
	if msg, ok := msgType[sh.mark]; ok {
		sh.typeMsg = msg
	}
	if name, ok := s.Extras[extraID].(string); ok {
		sh.target = c.targets[name]
	}
	if size, ok := s.Extras[extraSize].(int); ok {
		sh.size = size
	}
}

func (c *shaper) bound(n json.Number, sh *shape) *bound {
	if n == "" {
		return nil
	}
	f, ok := 0.0, isNumber(string(n))
	if ok {
		f, ok = parseFloat([]byte(n))
	}
	if !ok {
		c.fail("%q is not a number", string(n))
	}
	sh.own = true
	return &bound{f, string(n)}
}

func (c *shaper) number(sh *shape, s *jsonschema.Schema) {
	sh.min, sh.max = c.bound(s.Minimum, sh), c.bound(s.Maximum, sh)
	sh.minExcl, sh.maxExcl = c.bound(s.ExclusiveMinimum, sh), c.bound(s.ExclusiveMaximum, sh)
	if b := c.bound(s.MultipleOf, sh); b != nil {
		if b.f <= 0 {
			c.fail("multipleOf is not positive")
		}
		sh.step = b.text
	}
}

func count(p *uint64, sh *shape) int {
	if p == nil {
		return -1
	}
	sh.own = true
	return int(min(*p, 1<<31))
}

func (c *shaper) text(sh *shape, s *jsonschema.Schema) {
	sh.minLen, sh.maxLen = count(s.MinLength, sh), count(s.MaxLength, sh)
	if s.Pattern != "" {
		re, err := regexp.Compile(s.Pattern)
		if err != nil {
			c.fail("pattern: %w", err)
		}
		sh.pattern, sh.own = re, true
	}
	// A format that is not ours comes from a type that describes itself; it is a note there, as in JSON Schema's default.
	if fn := formats[s.Format]; fn != nil {
		sh.format, sh.formatFn, sh.own = s.Format, fn, true
	}
}

func (c *shaper) array(sh *shape, s *jsonschema.Schema) {
	sh.minItems, sh.maxItems = count(s.MinItems, sh), count(s.MaxItems, sh)
	if s.Items != nil {
		sh.items, sh.own = c.shape(s.Items), true
	}
	if s.UniqueItems {
		sh.unique, sh.own = true, true
	}
}

func (c *shaper) object(sh *shape, s *jsonschema.Schema) {
	sh.minProps, sh.maxProps = count(s.MinProperties, sh), count(s.MaxProperties, sh)
	if s.PropertyNames != nil {
		sh.keys, sh.own = c.shape(s.PropertyNames), true
	}
	if s.AdditionalProperties != nil {
		sh.own = true
		if sh.rest = c.shape(s.AdditionalProperties); sh.rest.never {
			sh.rest, sh.closed = nil, true
		}
	}
	sh.byName = map[string]int{}
	if s.Properties != nil {
		for p := s.Properties.Oldest(); p != nil; p = p.Next() {
			sh.own = true
			sh.byName[p.Key] = len(sh.props)
			sh.props = append(sh.props, property{name: p.Key, shape: c.shape(p.Value)})
		}
	}
	for _, name := range s.Required {
		sh.own = true
		i, ok := sh.byName[name]
		if !ok { // asked for but not described
			i = len(sh.props)
			sh.byName[name] = i
			sh.props = append(sh.props, property{name: name, shape: &shape{free: !sh.closed, never: sh.closed}})
			if sh.rest != nil {
				sh.props[i].shape = sh.rest
			}
		}
		sh.props[i].required = true
	}
}
