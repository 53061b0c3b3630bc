package authmod_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/triggers"
)

// Pupil is the application's user.
type Pupil struct {
	authmod.UserFields
	Nickname string `json:"nickname"`
	Role     string `json:"role"`
}

// Seat is a pupil's place in a course.
type Seat struct {
	Pupil  engine.ID[Pupil] `json:"pupil"`
	Course string           `json:"course"`
}

// Form is what the sign-up form asks beside the password.
type Form struct {
	Email    string `json:"email"`
	Nickname string `json:"nickname" jsonschema:"minLength=2"`
	Course   string `json:"course"`
}

// A sign-up by password, with a trigger that enrols the new user in the course that the form asked for: in one transaction, and
// only when the user is created.
func Example() {
	s := engine.NewSchema()
	pupils := engine.Define[Pupil](s, "pupils")
	seats := engine.Define[Seat](s, "seats")

	authmod.New(s, pupils, authmod.Options{Modules: []authmod.Module{
		password.New(password.Options{Profile: authmod.NewProfile(func(f Form) (Pupil, error) {
			return Pupil{UserFields: authmod.UserFields{Email: f.Email}, Nickname: f.Nickname, Role: "student"}, nil
		})}),
	}})

	triggers.OnCreate(pupils, "enrol", func(tx *engine.Tx, p *engine.Doc[Pupil]) error {
		form, err := authmod.Params[Form](tx)
		if err != nil {
			return err
		}
		_, err = seats.Insert(tx, Seat{Pupil: p.ID, Course: form.Course})
		return err
	})

	type myCourses struct{}
	engine.Query(s, "courses:mine", func(tx *engine.ReadTx, _ myCourses) ([]string, error) {
		me, err := authmod.UserID(tx, pupils)
		if err != nil {
			return nil, err
		}
		courses := []string{}
		for seat, err := range seats.All(tx).Filter(func(s *engine.Doc[Seat]) bool { return s.Value.Pupil == me }).Docs() {
			if err != nil {
				return nil, err
			}
			courses = append(courses, seat.Value.Course)
		}
		return courses, nil
	})

	db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	// What a client's call of auth:signIn comes to.
	signedIn, err := db.RunAction(context.Background(), engine.Call{
		Function: "auth:signIn",
		Args: json.RawMessage(`{"provider": "password", "params": {
			"flow": "signUp", "email": "ada@example.com", "password": "correct horse battery", "nickname": "Ada", "course": "databases"
		}}`),
	})
	if err != nil {
		log.Fatal(err)
	}
	mine, err := db.RunQuery(context.Background(), engine.Call{Function: "courses:mine", Principal: signedIn.Principal})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(mine.Value))
	// Output: ["databases"]
}
