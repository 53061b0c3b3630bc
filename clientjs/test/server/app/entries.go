package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mimosadb/mimosa/engine"
)

// Entry is one line of a list. Nothing keeps a list from holding a token twice, so that a mutation that took effect twice can
// be seen.
type Entry struct {
	List  string `json:"list"`
	Token string `json:"token"`
}

// Kept is any value under a key.
type Kept struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

type entryArgs struct {
	List  string `json:"list" jsonschema:"minLength=1"`
	Token string `json:"token" jsonschema:"minLength=1"`
}

type listArgs struct {
	List string `json:"list"`
}

type heldArgs struct {
	entryArgs
	Gate string `json:"gate" jsonschema:"minLength=1"`
}

// registerEntries adds lists whose mutations can be held at a gate.
func (a *app) registerEntries() {
	entries := engine.Define[Entry](a.schema, "entries")
	byList := entries.AddIndex("byList", "list")

	// add returns how many entries the list has then, which another run of the same call would not.
	add := func(tx *engine.Tx, in entryArgs) (int, error) {
		if _, err := entries.Insert(tx, Entry(in)); err != nil {
			return 0, err
		}
		return byList.Eq(tx, in.List).Count()
	}
	engine.Mutation(a.schema, "entries:add", add)
	engine.Mutation(a.schema, "entries:addHeld", func(tx *engine.Tx, in heldArgs) (int, error) {
		n, err := add(tx, in.entryArgs)
		if err != nil {
			return 0, err
		}
		return n, a.gates.pass(tx.Context(), in.Gate)
	})
	engine.Query(a.schema, "entries:list", func(tx *engine.ReadTx, in listArgs) ([]string, error) {
		var tokens []string
		for e, err := range byList.Eq(tx, in.List).Docs() {
			if err != nil {
				return nil, err
			}
			tokens = append(tokens, e.Value.Token)
		}
		return tokens, nil
	})
}

type moveArgs struct {
	From string `json:"from"`
	To   string `json:"to"`
	By   int    `json:"by"`
}

// registerMoves adds a mutation that changes two counters and never their sum.
func (a *app) registerMoves() {
	engine.Mutation(a.schema, "counters:move", func(tx *engine.Tx, in moveArgs) (struct{}, error) {
		if _, err := a.add(tx, addArgs{Name: in.From, By: -in.By}); err != nil {
			return struct{}{}, err
		}
		_, err := a.add(tx, addArgs{Name: in.To, By: in.By})
		return struct{}{}, err
	})
}

type keyArgs struct {
	Key string `json:"key"`
}

// registerKept adds values that are stored and read back.
func (a *app) registerKept() {
	kept := engine.Define[Kept](a.schema, "kept")
	byKey := kept.AddUnique("byKey", "key")
	engine.Mutation(a.schema, "values:keep", func(tx *engine.Tx, in Kept) (struct{}, error) {
		k, err := byKey.One(tx, in.Key)
		if errors.Is(err, engine.ErrNotFound) {
			_, err = kept.Insert(tx, in)
			return struct{}{}, err
		}
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, kept.Replace(tx, k.ID, in)
	})
	engine.Query(a.schema, "values:kept", func(tx *engine.ReadTx, in keyArgs) (json.RawMessage, error) {
		k, err := byKey.One(tx, in.Key)
		if errors.Is(err, engine.ErrNotFound) {
			return json.RawMessage("null"), nil
		}
		if err != nil {
			return nil, err
		}
		return k.Value.Value, nil
	})
}

// registerBugs adds functions that fail in ways that are nobody's business: with an error that has no code, and a panic.
func (a *app) registerBugs() {
	type in struct {
		Panic bool `json:"panic"`
	}
	fail := func(b in) (int, error) {
		if b.Panic {
			panic("the secret of the panic")
		}
		return 0, fmt.Errorf("the secret of the error: %w", errors.ErrUnsupported)
	}
	engine.Query(a.schema, "bugs:query", func(_ *engine.ReadTx, b in) (int, error) { return fail(b) })
	engine.Mutation(a.schema, "bugs:mutation", func(_ *engine.Tx, b in) (int, error) { return fail(b) })
	engine.Action(a.schema, "bugs:action", func(_ *engine.ActionCtx, b in) (int, error) { return fail(b) })
}
