package oauth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/url"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/oauth"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/triggers"
)

// Pupil is the application's user.
type Pupil struct {
	authmod.UserFields
	Nickname string `json:"nickname"`
}

// Seat is a pupil's place in a course.
type Seat struct {
	Pupil  engine.ID[Pupil] `json:"pupil"`
	Course string           `json:"course"`
}

// Form is what the page asks before it sends people to GitHub.
type Form struct {
	Nickname string `json:"nickname" jsonschema:"minLength=2"`
	Course   string `json:"course"`
}

// Sign-up by GitHub, with what a form asked before: the profile makes the user of both, and a trigger enrols them, when they
// have come back.
func Example() {
	s := engine.NewSchema()
	pupils := engine.Define[Pupil](s, "pupils")
	seats := engine.Define[Seat](s, "seats")

	authmod.New(s, pupils, authmod.Options{
		BaseURL: "https://api.example.com",
		SiteURL: "https://app.example.com",
		Modules: []authmod.Module{oauth.GitHub(oauth.Options{
			ClientID: "Iv1.8a61f9b3a7aba766", ClientSecret: "out of the environment",
			Profile: oauth.NewProfile(func(who oauth.Person, f Form) (Pupil, error) {
				return Pupil{UserFields: authmod.UserFields{Email: who.Email, Image: who.Image}, Nickname: f.Nickname}, nil
			}),
		})},
	})
	triggers.OnCreate(pupils, "enrol", func(tx *engine.Tx, p *engine.Doc[Pupil]) error {
		form, err := authmod.Params[Form](tx)
		if err != nil {
			return err
		}
		_, err = seats.Insert(tx, Seat{Pupil: p.ID, Course: form.Course})
		return err
	})

	db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	// What the page calls, and where it goes then.
	res, err := db.RunAction(context.Background(), engine.Call{
		Function: "auth:signIn",
		Args: json.RawMessage(`{"provider": "github", "params": {
			"redirectTo": "/courses", "nickname": "ada", "course": "databases"
		}}`),
	})
	if err != nil {
		log.Fatal(err)
	}
	var answer struct{ Redirect, Verifier string }
	if err := json.Unmarshal(res.Value, &answer); err != nil {
		log.Fatal(err)
	}
	to, err := url.Parse(answer.Redirect)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(to.Host+to.Path, to.Query().Get("redirect_uri"), to.Query().Get("code_challenge_method"))
	// Output: github.com/login/oauth/authorize https://api.example.com/api/auth/github/callback S256
}
