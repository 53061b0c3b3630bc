package engine_test

import (
	"strings"
	"testing"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// A hook that changes what is going to be stored leaves alone what its Go type does not know.
func TestUnknownMembersAndHooks(t *testing.T) {
	t.Parallel()
	type wide struct {
		Name  string `json:"name"`
		Extra int    `json:"extra,omitempty"`
	}
	type narrow struct {
		Name string `json:"name"`
	}
	shared := memstore.NewShared(memstore.Options{})
	define := func() (*engine.Schema, *engine.Collection[wide]) {
		s := engine.NewSchema()
		return s, engine.Define[wide](s, "things")
	}
	s, wides := define()
	var patched, replaced engine.ID[wide]
	must(t, reopen(t, shared, s, func(db *engine.DB) {
		update(t, db, func(tx *engine.Tx) (err error) {
			if patched, err = wides.Insert(tx, wide{"p", 7}); err != nil {
				return err
			}
			replaced, err = wides.Insert(tx, wide{"r", 8})
			return err
		})
	}))

	older := engine.NewSchema()
	narrows := engine.Define[narrow](older, "things")
	older.OnWrite(&hook{before: func(_ *engine.ReadTx, c *engine.Change) error {
		d, err := engine.DecodeAfter[narrow](c)
		if err != nil {
			return err
		}
		return engine.SetAfter(c, &narrow{strings.ToUpper(d.Value.Name)})
	}})
	must(t, reopen(t, shared, older, func(db *engine.DB) {
		update(t, db, func(tx *engine.Tx) error {
			err := narrows.Patch(tx, engine.ID[narrow](patched), func(n *narrow) error { n.Name = "patched"; return nil })
			if err != nil {
				return err
			}
			return narrows.Replace(tx, engine.ID[narrow](replaced), narrow{"replaced"})
		})
	}))

	s, wides = define()
	must(t, reopen(t, shared, s, func(db *engine.DB) {
		view(t, db, func(r *engine.ReadTx) error {
			for id, want := range map[engine.ID[wide]]wide{patched: {"PATCHED", 7}, replaced: {"REPLACED", 0}} {
				d, err := wides.Get(r, id)
				if err != nil {
					return err
				}
				if d.Value != want {
					t.Errorf("stored %+v, want %+v", d.Value, want)
				}
			}
			return nil
		})
	}))
}
