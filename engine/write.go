package engine

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/mimosadb/mimosa/engine/internal/doctype"
	"github.com/mimosadb/mimosa/engine/internal/keyenc"
)

// A write goes: Before hooks → validate → unique → store → After hooks. All that can refuse it comes before the first byte is
// stored, so a refusal leaves nothing to undo.

// insert stores a new document from the encoding of its value.
func (t *txn) insert(tx *Tx, c *collection, enc []byte) (string, error) {
	if err := t.beginWrite(c); err != nil {
		return "", err
	}
	id := t.newID(c)
	text := id.String()
	ch := &Change{Collection: c.name, Op: Create, ID: text, Created: time.UnixMicro(id.micros()).UTC(), coll: c}
	ch.After = doctype.WithSystem(text, id.micros(), enc)
	if err := t.before(tx, ch); err != nil {
		return "", err
	}
	if err := t.admit(c, id, ch); err != nil {
		return "", err
	}
	return text, t.store(tx, c, id, ch)
}

// newID draws an id. That no document has it is read, so that of two transactions that draw the same at once one is run
// again. It is not looked up: the random bits are those of this opening of this store, and do not come again.
func (t *txn) newID(c *collection) rawID {
	id := makeID(c.tag, t.nextMicros, t.db.uniqueBits())
	t.nextMicros++
	t.reads.AddPoint([]byte(documentKey(id)))
	return id
}

// update stores the encoding of a changed value. keep carries over the stored members that the Go type does not know.
func (t *txn) update(tx *Tx, c *collection, id string, enc []byte, keep bool) error {
	if err := t.beginWrite(c); err != nil {
		return err
	}
	stored, err := t.getDocument(c, id)
	if err != nil {
		return err
	}
	raw, _ := decodeID(id)
	if keep {
		if enc, err = c.typ.Merge(withoutSystem(stored), enc); err != nil {
			return fmt.Errorf("engine: update of %s in %s: %w", id, c.name, err)
		}
	}
	ch := &Change{Collection: c.name, Op: Update, ID: id, Created: time.UnixMicro(raw.micros()).UTC(), Before: stored, coll: c}
	ch.After = doctype.WithSystem(id, raw.micros(), enc)
	if doctype.Equal(ch.Before, ch.After) {
		return nil
	}
	if err := t.before(tx, ch); err != nil {
		return err
	}
	if doctype.Equal(ch.Before, ch.After) {
		return nil
	}
	if err := t.admit(c, raw, ch); err != nil {
		return err
	}
	return t.store(tx, c, raw, ch)
}

// delete removes a document.
func (t *txn) delete(tx *Tx, c *collection, id string) error {
	if err := t.beginWrite(c); err != nil {
		return err
	}
	stored, err := t.getDocument(c, id)
	if err != nil {
		return err
	}
	raw, _ := decodeID(id)
	ch := &Change{Collection: c.name, Op: Delete, ID: id, Created: time.UnixMicro(raw.micros()).UTC(), Before: stored, coll: c}
	if err := t.before(tx, ch); err != nil {
		return err
	}
	return t.store(tx, c, raw, ch)
}

func (t *txn) beginWrite(c *collection) error {
	if err := t.usableFor(c); err != nil {
		return err
	}
	if !t.writable {
		return fmt.Errorf("engine: write to %s in a read-only transaction", c.name)
	}
	if c.system && !t.granted {
		return &Error{Code: CodeForbidden, Message: c.name + " is written by the database alone"}
	}
	t.granted = false // it is for one write, and not for those of its triggers
	if t.writeDocs >= t.db.limits.WriteDocuments {
		return t.poisonWith(&LimitError{"WriteDocuments", int64(t.db.limits.WriteDocuments)})
	}
	return nil
}

// hooks are those that writes run.
func (t *txn) hooks() []WriteHook {
	if t.silent {
		return nil
	}
	return t.db.schema.hooks
}

// before runs the Before hooks, and checks that the transaction survived them.
func (t *txn) before(tx *Tx, ch *Change) error {
	for _, h := range t.hooks() {
		if err := t.guard(func() error { return h.Before(tx.ReadOnly(), ch) }); err != nil {
			var p *PanicError
			if errors.As(err, &p) { // a panic is no refusal
				return t.poisonWith(err)
			}
			return err
		}
	}
	return t.usable()
}

// admit validates what is going to be stored, and checks its size and the unique indexes.
func (t *txn) admit(c *collection, id rawID, ch *Change) error {
	if issues := c.typ.Validate(ch.After, doctype.ValidateOptions{AllowUnknown: ch.Op == Update || t.lenient, Doc: true}); len(issues) > 0 {
		return invalid("invalid document for "+c.name, issues)
	}
	if len(ch.After) > t.db.limits.DocumentBytes && !c.system {
		return &LimitError{"DocumentBytes", int64(t.db.limits.DocumentBytes)}
	}
	if t.writeBytes+int64(len(ch.After)) > t.db.limits.WriteBytes {
		return t.poisonWith(&LimitError{"WriteBytes", t.db.limits.WriteBytes})
	}
	for _, x := range c.indexes {
		key, complete, err := x.key(id, ch.After)
		if err != nil {
			return err
		}
		if !x.unique || !complete {
			continue
		}
		if before := ch.before(); before != nil {
			if old, _, err := x.key(id, before); err == nil && old == key {
				continue
			}
		}
		if err := t.checkUnique(x, id, key); err != nil {
			return err
		}
	}
	return nil
}

// checkUnique fails when another document has the components of key. The range that it reads conflicts with anyone who
// inserts into it.
func (t *txn) checkUnique(x *index, id rawID, key string) error {
	lo := []byte(key[:len(key)-(idBytes-tagBytes)])
	hi := keyenc.PrefixEnd(lo)
	taken := false
	ready := t.isReady(x)
	err := t.scan(t.mine, lo, hi, false, func(k string, _ []byte) (_ bool, err error) {
		other := x.coll.indexedID([]byte(k))
		taken = other != id
		if taken && !ready { // the entry may be left over from before the index was declared
			taken, err = t.holds(x, other, k)
		}
		return !taken, err
	})
	t.reads.Add(lo, hi)
	if err != nil && !errors.Is(err, errStopped) {
		return err
	}
	if !taken {
		return nil
	}
	e := &Error{Code: CodeAlreadyExists, Message: "already exists in " + x.coll.name}
	for _, p := range x.paths {
		e.Issues = append(e.Issues, Issue{Path: p.Name(), Rule: "unique", Message: "is taken already"})
	}
	return e
}

// holds says whether a document has an entry, by looking at the document.
func (t *txn) holds(x *index, id rawID, entry string) (bool, error) {
	doc, ok, err := t.get(documentKey(id))
	if err != nil || !ok {
		return false, err
	}
	key, _, err := x.key(id, doc)
	return err == nil && key == entry, nil
}

// store applies an admitted change to the transaction and runs the After hooks.
func (t *txn) store(tx *Tx, c *collection, id rawID, ch *Change) error {
	t.writeDocs++
	t.writeBytes += int64(len(ch.After))
	doc := documentKey(id)
	t.set(doc, ch.After, ch.After == nil)
	t.touched = append(t.touched, doc)
	for _, x := range c.indexes {
		var old, now string
		if before := ch.before(); before != nil {
			k, _, err := x.key(id, before)
			if err == nil {
				old = k
				t.touched = append(t.touched, k)
			} else if t.isReady(x) { // one that is not has no entry of a document that it cannot take
				return t.poisonWith(err)
			}
		}
		if ch.After != nil {
			k, _, err := x.key(id, ch.After)
			if err != nil {
				return t.poisonWith(err)
			}
			now = k
			if now != old {
				t.touched = append(t.touched, k)
			}
		}
		// An entry that did not change is touched, since a scan of this index did read the document, but not written.
		if old == now {
			continue
		}
		if old != "" {
			t.set(old, nil, true)
		}
		if now != "" {
			t.set(now, nil, false)
		}
	}
	for _, h := range t.hooks() {
		if err := t.guard(func() error { return h.After(tx, *ch) }); err != nil {
			return t.poisonWith(err)
		}
	}
	return t.usable()
}

func (t *txn) poisonWith(err error) error {
	if t.poison == nil {
		t.poison = err
	}
	return err
}

// guard turns a panic of fn into an error.
func (t *txn) guard(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return fn()
}

func (c *Change) setAfter(v any) error {
	if c.After == nil {
		return fmt.Errorf("engine: SetAfter on a %s of %s", c.Op, c.Collection)
	}
	enc, err := c.coll.encode(v)
	if err != nil {
		return err
	}
	if enc, err = c.coll.typ.Merge(withoutSystem(c.After), enc); err != nil {
		return err
	}
	id, micros, err := systemFields(c.After)
	if err != nil {
		return err
	}
	c.After = doctype.WithSystem(id, micros, enc)
	return nil
}
