package jwt_test

import (
	"fmt"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/jwt"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/triggers"
)

// Member is who uses the application.
type Member struct {
	authmod.UserFields
	Role string `json:"role"`
}

// An application whose people sign in by Clerk. Whoever comes for the first time gets a role and a welcome, in one transaction.
func Example() {
	s := engine.NewSchema()
	members := engine.Define[Member](s, "members")
	welcomes := engine.Define[struct {
		Member engine.ID[Member] `json:"member"`
	}](s, "welcomes")

	o := jwt.Clerk("https://happy-otter-1.clerk.accounts.dev")
	o.AuthorizedParties = []string{"https://app.example.com"}
	o.Provision = authmod.NewMapping(func(c jwt.Claims, m *Member) error {
		m.Email, m.Name, m.Role = c.Email, c.Name, "member"
		return nil
	})
	auth := authmod.New(s, members, authmod.Options{Modules: []authmod.Module{jwt.New(o)}})

	triggers.OnCreate(members, "welcome", func(tx *engine.Tx, m *engine.Doc[Member]) error {
		_, err := welcomes.Insert(tx, struct {
			Member engine.ID[Member] `json:"member"`
		}{m.ID})
		return err
	})

	db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})}) // Dir: "data" keeps it
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()

	// subscriptions.New(db, subscriptions.Options{Authenticator: auth}) asks auth for every token that a client presents.
	_, err = auth.Principal("a.forged.token")
	fmt.Println(err)
	// Output: the access token is not valid
}
