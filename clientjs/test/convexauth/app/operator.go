package main

import (
	"net/http"

	"github.com/mimosadb/mimosa/engine"
)

// operator adds what an operator does from outside, to the user of ?email=:
//
//	POST /operator/revoke    ends all the user's sessions
//	POST /operator/promote   makes the user a teacher
//	POST /operator/delete    deletes the user
func (a *app) operator(mux *http.ServeMux, db *engine.DB) {
	deeds := map[string]func(tx *engine.Tx, id engine.ID[User]) error{
		"revoke": func(tx *engine.Tx, id engine.ID[User]) error { return a.auth.RevokeSessions(tx, string(id), "") },
		"promote": func(tx *engine.Tx, id engine.ID[User]) error {
			return a.users.Patch(tx, id, func(u *User) error { u.Role = "teacher"; return nil })
		},
		"delete": func(tx *engine.Tx, id engine.ID[User]) error { return a.users.Delete(tx, id) },
	}
	for name, deed := range deeds {
		mux.HandleFunc("POST /operator/"+name, func(w http.ResponseWriter, r *http.Request) {
			err := db.Update(r.Context(), func(tx *engine.Tx) error {
				user, err := a.byEmail.One(tx, r.FormValue("email"))
				if err != nil {
					return err
				}
				return deed(tx, user.ID)
			})
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		})
	}
}
