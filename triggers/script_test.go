package triggers_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The scripts of the scenarios: statements, one a line, with what belongs to one indented below it.
//
//	insert COLL NAME [ASSIGNMENT…]   stores a document and remembers its id under NAME
//	patch, replace COLL NAME […]     changes the one inserted last under NAME
//	delete, get COLL NAME
//	set ASSIGNMENT…                  changes the trigger's copy of the document after the change
//	tag TEXT                         overwrites the first tag of that copy, in place
//	nested                           runs what is below in Tx.Nested
//	repeat COUNT                     runs what is below so many times; {i} counts
//	if COND                          runs what is below when COND holds
//	fail CODE TEXT                   returns an error for the client; CODE plain makes it an ordinary one
//	panic TEXT
//	try STATEMENT                    ignores the statement's error
//	rescue                           runs what is below and recovers its panics
//	smuggle STATEMENT                runs it with the function's Tx, wherever it stands
//	end                              returns, without an error
//
// An assignment is field=value or n+=number; conditions compare two numbers with <, > or =. {name}, {n}, {key}, {city}, {tags}
// stand for the document after the change (before it, at a deletion); {before.n} and so on for what it was.
type stmt struct {
	op      string
	words   []string
	body    []stmt
	try     bool
	smuggle bool
}

// thing is the type of all documents.
type thing struct {
	Name    string   `json:"name"`
	N       int      `json:"n" jsonschema:"minimum=0,maximum=99"`
	Key     string   `json:"key,omitempty"`
	Tags    []string `json:"tags"`
	Address address  `json:"address"`
}

type address struct {
	City string `json:"city"`
	Zip  string `json:"zip"`
}

func (v *thing) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s n=%d", v.Name, v.N)
	for _, f := range []struct{ name, value string }{
		{"key", v.Key}, {"tags", strings.Join(v.Tags, ",")}, {"city", v.Address.City}, {"zip", v.Address.Zip},
	} {
		if f.value != "" {
			fmt.Fprintf(&b, " %s=%s", f.name, f.value)
		}
	}
	return b.String()
}

func (v *thing) assign(words []string) error {
	for _, w := range words {
		field, value, ok := strings.Cut(w, "=")
		if !ok {
			return fmt.Errorf("no assignment: %s", w)
		}
		switch field {
		case "n", "n+":
			n, err := strconv.Atoi(value)
			if err != nil {
				return err
			}
			if field == "n+" {
				n += v.N
			}
			v.N = n
		case "key":
			v.Key = value
		case "tags":
			v.Tags = strings.Split(value, ",")
		case "city":
			v.Address.City = value
		case "zip":
			v.Address.Zip = value
		default:
			return fmt.Errorf("no field %s", field)
		}
	}
	return nil
}

// scripted is a trigger with a script for a body.
type scripted struct {
	collection, kind, name string
	fields                 []string
	when                   string
	body                   []stmt
}

func (s *scripted) label() string { return fmt.Sprintf("%s.%s(%s)", s.collection, s.kind, s.name) }

var triggerLine = regexp.MustCompile(`^(\w+)\.(\w+)\((\w+)\)((?: \S+)*)$`)

// parseTriggers reads lines such as "users.OnUpdate(ship) fields=n,address when={n}>3", each with its body below.
func parseTriggers(lines []string) ([]*scripted, error) {
	var out []*scripted
	for len(lines) > 0 {
		m := triggerLine.FindStringSubmatch(lines[0])
		if m == nil {
			return nil, fmt.Errorf("no trigger: %s", lines[0])
		}
		t := &scripted{collection: m[1], kind: m[2], name: m[3]}
		for _, o := range strings.Fields(m[4]) {
			option, value, _ := strings.Cut(o, "=")
			switch option {
			case "fields":
				t.fields = strings.Split(value, ",")
			case "when":
				t.when = value
			default:
				return nil, fmt.Errorf("no option: %s", o)
			}
		}
		var err error
		if t.body, lines, err = parseBody(lines[1:], "  "); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// parseBody reads the lines that begin with indent and returns the others.
func parseBody(lines []string, indent string) ([]stmt, []string, error) {
	var out []stmt
	for len(lines) > 0 && strings.HasPrefix(lines[0], indent) {
		words := strings.Fields(lines[0])
		if len(words) == 0 || strings.HasPrefix(lines[0], indent+" ") {
			return nil, nil, fmt.Errorf("indentation: %q", lines[0])
		}
		var s stmt
		for ; len(words) > 1 && (words[0] == "try" || words[0] == "smuggle"); words = words[1:] {
			s.try = s.try || words[0] == "try"
			s.smuggle = s.smuggle || words[0] == "smuggle"
		}
		s.op, s.words = words[0], words[1:]
		var err error
		if s.body, lines, err = parseBody(lines[1:], indent+"  "); err != nil {
			return nil, nil, err
		}
		out = append(out, s)
	}
	return out, lines, nil
}

// env is what a script's placeholders and set refer to.
type env struct {
	before, after *thing
	i             int
}

func (e env) expand(s string) string {
	if !strings.Contains(s, "{") {
		return s
	}
	current := e.after
	if current == nil {
		current = e.before
	}
	s = strings.ReplaceAll(s, "{i}", strconv.Itoa(e.i))
	for prefix, v := range map[string]*thing{"": current, "before.": e.before, "after.": e.after} {
		if v == nil {
			v = &thing{Name: "nil", N: -1}
		}
		s = strings.NewReplacer(
			"{"+prefix+"name}", v.Name, "{"+prefix+"n}", strconv.Itoa(v.N), "{"+prefix+"key}", v.Key,
			"{"+prefix+"city}", v.Address.City, "{"+prefix+"tags}", strings.Join(v.Tags, ","),
		).Replace(s)
	}
	return s
}

func (e env) holds(cond string) bool {
	cond = e.expand(cond)
	i := strings.IndexAny(cond, "<>=")
	if i < 0 {
		panic("no condition: " + cond)
	}
	left, lerr := strconv.Atoi(cond[:i])
	right, rerr := strconv.Atoi(cond[i+1:])
	if lerr != nil || rerr != nil {
		panic("no condition: " + cond)
	}
	switch cond[i] {
	case '<':
		return left < right
	case '>':
		return left > right
	default:
		return left == right
	}
}
