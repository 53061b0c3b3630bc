package triggers

import "github.com/mimosadb/mimosa/engine"

// BeforeCreate registers fn to run before a document of c is validated and stored for the first time. It may change the
// value, which is then stored as it left it, or refuse it with an error, which the Insert returns and which undoes nothing
// but that Insert. A refusal that is an *engine.Error keeps its code.
func BeforeCreate[T any](c *engine.Collection[T], name string, fn func(*engine.ReadTx, *T) error, o ...Option) {
	register(c, beforeCreate, name, fn == nil, o, func(t *trigger) {
		t.before = func(tx *engine.ReadTx, ch *engine.Change) error {
			after, err := engine.DecodeAfter[T](ch)
			if err != nil {
				return err
			}
			if err := fn(tx, &after.Value); err != nil {
				return err
			}
			return engine.SetAfter(ch, &after.Value)
		}
	})
}

// BeforeUpdate registers fn to run before a change of a document of c is validated and stored. It is given the document as
// it is stored and the value that is to take its place, which it may change or refuse, as in BeforeCreate. An update that it
// makes equal to what is stored again does not take place.
func BeforeUpdate[T any](c *engine.Collection[T], name string, fn func(tx *engine.ReadTx, before *engine.Doc[T], after *T) error, o ...Option) {
	register(c, beforeUpdate, name, fn == nil, o, func(t *trigger) {
		t.before = func(tx *engine.ReadTx, ch *engine.Change) error {
			before, after, err := decode[T](ch)
			if err != nil {
				return err
			}
			if err := fn(tx, before, &after.Value); err != nil {
				return err
			}
			return engine.SetAfter(ch, &after.Value)
		}
	})
}

// BeforeDelete registers fn to run before a document of c is deleted. It may refuse that with an error, which the Delete
// returns.
func BeforeDelete[T any](c *engine.Collection[T], name string, fn func(tx *engine.ReadTx, before *engine.Doc[T]) error, o ...Option) {
	register(c, beforeDelete, name, fn == nil, o, func(t *trigger) {
		t.before = func(tx *engine.ReadTx, ch *engine.Change) error {
			before, err := engine.DecodeBefore[T](ch)
			if err != nil {
				return err
			}
			return fn(tx, before)
		}
	})
}

// OnCreate registers fn to run after a document of c was stored for the first time: once in its life, whoever stored it. An
// error of fn fails the whole mutation.
func OnCreate[T any](c *engine.Collection[T], name string, fn func(tx *engine.Tx, doc *engine.Doc[T]) error, o ...Option) {
	register(c, onCreate, name, fn == nil, o, func(t *trigger) {
		t.on = func(tx *engine.Tx, ch *engine.Change) error {
			doc, err := engine.DecodeAfter[T](ch)
			if err != nil {
				return err
			}
			return fn(tx, doc)
		}
	})
}

// OnUpdate registers fn to run after a document of c was changed. It is not run by an update that changes nothing. An error
// of fn fails the whole mutation.
func OnUpdate[T any](c *engine.Collection[T], name string, fn func(tx *engine.Tx, before, after *engine.Doc[T]) error, o ...Option) {
	register(c, onUpdate, name, fn == nil, o, func(t *trigger) {
		t.on = func(tx *engine.Tx, ch *engine.Change) error {
			before, after, err := decode[T](ch)
			if err != nil {
				return err
			}
			return fn(tx, before, after)
		}
	})
}

// OnDelete registers fn to run after a document of c was deleted, with the document as it was. An error of fn fails the
// whole mutation.
func OnDelete[T any](c *engine.Collection[T], name string, fn func(tx *engine.Tx, before *engine.Doc[T]) error, o ...Option) {
	register(c, onDelete, name, fn == nil, o, func(t *trigger) {
		t.on = func(tx *engine.Tx, ch *engine.Change) error {
			before, err := engine.DecodeBefore[T](ch)
			if err != nil {
				return err
			}
			return fn(tx, before)
		}
	})
}

// decode returns both sides of a change, each nil where there is none, as copies that nobody else holds.
func decode[T any](ch *engine.Change) (before, after *engine.Doc[T], err error) {
	if before, err = engine.DecodeBefore[T](ch); err != nil {
		return nil, nil, err
	}
	if after, err = engine.DecodeAfter[T](ch); err != nil {
		return nil, nil, err
	}
	return before, after, nil
}
