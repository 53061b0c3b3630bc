package main

import (
	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

type personArgs struct {
	User engine.ID[User] `json:"user"`
	Role string          `json:"role,omitempty"`
}

// notBanned refuses sessions of those who are banned.
func (a *app) notBanned(tx *engine.Tx, in *authmod.SignInInfo) error {
	user, err := a.users.Get(tx, engine.ID[User](in.User))
	if err == nil && user.Value.Banned {
		err = engine.Errorf(engine.CodeForbidden, "you are banned")
	}
	return err
}

// registerPeople adds what is done to users by others. In a program of its own these would ask who calls.
func (a *app) registerPeople() {
	// What only teachers see: the role is read in the query, and so part of what it watches.
	engine.Query(a.schema, "people:staffRoom", func(tx *engine.ReadTx, _ struct{}) (string, error) {
		id, err := authmod.UserID(tx, a.users)
		if err != nil {
			return "", err
		}
		user, err := a.users.Get(tx, id)
		if err != nil {
			return "", err
		}
		if user.Value.Role != "teacher" {
			return "", engine.Errorf(engine.CodeForbidden, "only teachers may enter")
		}
		return "coffee", nil
	})
	engine.Mutation(a.schema, "people:setRole", func(tx *engine.Tx, in personArgs) (*struct{}, error) {
		return nil, a.users.Patch(tx, in.User, func(u *User) error { u.Role = in.Role; return nil })
	})
	engine.Mutation(a.schema, "people:ban", func(tx *engine.Tx, in personArgs) (*struct{}, error) {
		if err := a.users.Patch(tx, in.User, func(u *User) error { u.Banned = true; return nil }); err != nil {
			return nil, err
		}
		return nil, a.auth.RevokeSessions(tx, string(in.User), "")
	})
	engine.Mutation(a.schema, "people:remove", func(tx *engine.Tx, in personArgs) (*struct{}, error) {
		return nil, a.users.Delete(tx, in.User)
	})
}
