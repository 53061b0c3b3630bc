package triggers

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/mimosadb/mimosa/engine"
)

// Option narrows when a trigger runs. Several options must all agree.
type Option func(*narrowing)

// Fields narrows OnUpdate and BeforeUpdate to changes of at least one of these JSON paths, such as "email" or
// "address.city". A path may name a struct or a list, of which any part may have changed. Spelling makes no difference: 1 and
// 1.0 are equal, and so are objects whose members are in another order; null and missing are not. Before triggers compare
// what the ones before them made of the document. A path that T does not have is an error of Open, as is Fields on any other
// kind of trigger.
func Fields(paths ...string) Option {
	return func(n *narrowing) {
		if len(paths) == 0 {
			n.problems = append(n.problems, "Fields is given no path")
		}
		n.fields = append(n.fields, paths...)
		n.hasFields = true
	}
}

// When narrows a trigger to changes for which holds is true. T is the collection's type and need not be written:
//
//	triggers.OnUpdate(orders, "ship", ship, triggers.When(func(before, after *engine.Doc[Order]) bool {
//		return before.Value.Status != "paid" && after.Value.Status == "paid"
//	}))
//
// before is nil at a creation and after at a deletion. Both are copies; holds must not depend on anything else. When of a
// type that is not the collection's is an error of Open.
func When[T any](holds func(before, after *engine.Doc[T]) bool) Option {
	return func(n *narrowing) {
		if holds == nil {
			n.problems = append(n.problems, "When is given no function")
			return
		}
		n.conditions = append(n.conditions, condition{
			goType: reflect.TypeFor[T](),
			holds: func(ch *engine.Change) (bool, error) {
				before, after, err := decode[T](ch)
				if err != nil {
					return false, err
				}
				return holds(before, after), nil
			},
		})
	}
}

// narrowing is what the options of one trigger ask for.
type narrowing struct {
	fields     []string
	hasFields  bool
	conditions []condition
	problems   []string
}

// condition is a When without its type parameter.
type condition struct {
	goType reflect.Type
	holds  func(*engine.Change) (bool, error)
}

// narrow applies o and returns what is wrong with it for a trigger of kind k on a collection of goType.
func narrow(k kind, goType reflect.Type, hasPath func(string) error, o []Option) (narrowing, []string) {
	var n narrowing
	for _, opt := range o {
		if opt == nil {
			n.problems = append(n.problems, "an option is nil")
			continue
		}
		opt(&n)
	}
	if n.hasFields && k != onUpdate && k != beforeUpdate {
		n.problems = append(n.problems, "Fields narrows updates only")
	}
	for _, path := range n.fields {
		if err := hasPath(path); err != nil {
			n.problems = append(n.problems, fmt.Sprintf("Fields: %v", err))
		}
	}
	for _, cond := range n.conditions {
		if cond.goType != goType {
			n.problems = append(n.problems, fmt.Sprintf("When looks at %v, but the collection holds %v", cond.goType, goType))
		}
	}
	return n, n.problems
}

// matches says whether the change is one that the trigger asked for.
func (n *narrowing) matches(ch *engine.Change) (bool, error) {
	if n.hasFields && !slices.ContainsFunc(n.fields, ch.Changed) {
		return false, nil
	}
	for _, cond := range n.conditions {
		ok, err := cond.holds(ch)
		if err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}
