package triggers_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/mimosadb/mimosa/engine"
)

// world is what scripts run on: a transaction of the engine, or the model of one. Documents are named by handles.
type world interface {
	insert(coll string, v thing) (handle string, err error)
	patch(coll, handle string, change func(*thing) error) error
	replace(coll, handle string, v thing) error
	delete(coll, handle string) error
	get(coll, handle string) (*thing, error)
	nested(fn func(world) error) error
}

// player runs scripts and writes down what happens, indented as the calls are.
type player struct {
	out     strings.Builder
	indent  int
	handles map[string]string // by collection/name, as last inserted or seen by a trigger, rolled back or not
	top     world             // of the function that is running
	steps   int               // statements that may still run; below zero they do nothing
	show    func(error) string
}

func newPlayer() *player {
	return &player{handles: map[string]string{}, steps: 100_000, show: error.Error}
}

func (p *player) printf(format string, a ...any) {
	fmt.Fprintf(&p.out, "%s%s\n", strings.Repeat("  ", p.indent), fmt.Sprintf(format, a...))
}

// inside runs fn with what it prints indented below.
func (p *player) inside(fn func() error) error {
	p.indent++
	defer func() { p.indent-- }()
	return fn()
}

// function runs the body of a mutation.
func (p *player) function(w world, body []stmt) error {
	p.top = w
	return p.run(w, env{}, body)
}

// fire runs the body of a trigger. The name of its document stands for that document from then on; handle is empty where it
// has none yet.
func (p *player) fire(t *scripted, w world, handle string, before, after *thing) error {
	v := after
	if v == nil {
		v = before
	}
	if handle != "" {
		p.handles[t.collection+"/"+v.Name] = handle
	}
	p.printf("%s %s", t.label(), v.Name)
	return p.inside(func() error { return p.run(w, env{before: before, after: after}, t.body) })
}

var errEnd = errors.New("end")

func (p *player) run(w world, e env, body []stmt) error {
	err := p.statements(w, e, body)
	if err == errEnd {
		return nil
	}
	return err
}

func (p *player) statements(w world, e env, body []stmt) error {
	for _, s := range body {
		if p.steps--; p.steps < 0 {
			return nil
		}
		words := make([]string, len(s.words))
		for i, word := range s.words {
			words[i] = e.expand(word)
		}
		p.printf("%s", strings.Join(append([]string{s.op}, words...), " "))
		target := w
		if s.smuggle {
			target = p.top
		}
		err := p.inside(func() error {
			err := p.statement(target, e, s, words)
			if err != nil && err != errEnd {
				p.printf("! %s", p.show(err))
			}
			return err
		})
		if err != nil && (!s.try || err == errEnd) {
			return err
		}
	}
	return nil
}

func (p *player) statement(w world, e env, s stmt, words []string) (err error) {
	handle := ""
	switch s.op {
	case "patch", "replace", "delete", "get":
		if handle = p.handles[words[0]+"/"+words[1]]; handle == "" {
			return engine.Errorf(engine.CodeNotFound, "the script inserted no such document")
		}
	}
	switch s.op {
	case "insert":
		v := thing{Name: words[1]}
		if err := v.assign(words[2:]); err != nil {
			return err
		}
		handle, err := w.insert(words[0], v)
		if err == nil {
			p.handles[words[0]+"/"+words[1]] = handle
		}
		return err
	case "patch":
		return w.patch(words[0], handle, func(v *thing) error { return v.assign(words[2:]) })
	case "replace":
		v := thing{Name: words[1]}
		if err := v.assign(words[2:]); err != nil {
			return err
		}
		return w.replace(words[0], handle, v)
	case "delete":
		return w.delete(words[0], handle)
	case "get":
		v, err := w.get(words[0], handle)
		if err == nil {
			p.printf("= %s", v)
		}
		return err
	case "set":
		return e.after.assign(words)
	case "tag":
		e.after.Tags[0] = words[0]
		return nil
	case "say":
		return nil
	case "nested":
		return w.nested(func(w world) error { return p.run(w, e, s.body) })
	case "repeat":
		n, err := strconv.Atoi(words[0])
		if err != nil {
			return err
		}
		for e.i = 1; e.i <= n; e.i++ {
			if err := p.statements(w, e, s.body); err != nil {
				return err
			}
		}
		return nil
	case "if":
		if !e.holds(words[0]) {
			return nil
		}
		return p.statements(w, e, s.body)
	case "fail":
		if words[0] == "plain" {
			return errors.New(strings.Join(words[1:], " "))
		}
		return engine.Errorf(engine.Code(words[0]), "%s", strings.Join(words[1:], " "))
	case "panic":
		panic(strings.Join(words, " "))
	case "rescue":
		defer func() {
			if v := recover(); v != nil {
				p.printf("rescued: %v", v)
				err = nil
			}
		}()
		return p.statements(w, e, s.body)
	case "end":
		return errEnd
	}
	return fmt.Errorf("no statement: %s", s.op)
}
