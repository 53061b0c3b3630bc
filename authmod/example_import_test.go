package authmod_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"

	"golang.org/x/crypto/bcrypt"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// bring makes a user of somebody who had a password elsewhere.
func bring(tx *engine.Tx, auth *authmod.Auth, users *engine.Collection[User], email, nickname, hash string) error {
	email = authmod.NormalizeEmail(email)
	id, err := users.Insert(tx, User{
		UserFields: authmod.UserFields{Email: email, EmailVerified: true}, Nickname: nickname, Role: "student",
	})
	if err != nil {
		return err
	}
	_, err = auth.Accounts().Insert(tx, authmod.Account{
		Provider: "password", ProviderAccountID: email, User: string(id), Secret: hash, VerifiedEmail: email,
	})
	return err
}

// Users who come from elsewhere keep their passwords: hashes of bcrypt are verified, and replaced when their owners sign in.
func ExampleAuth_Accounts() {
	s := engine.NewSchema()
	users := engine.Define[User](s, "users")
	auth := authmod.New(s, users, authmod.Options{Modules: []authmod.Module{password.New(password.Options{})}})
	db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	old, err := bcrypt.GenerateFromPassword([]byte("hunter2"), bcrypt.MinCost)
	if err != nil {
		log.Fatal(err)
	}
	err = db.Update(context.Background(), func(tx *engine.Tx) error {
		return bring(tx, auth, users, "Ada@Example.com", "Ada", string(old))
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, try := range []string{"hunter3", "hunter2"} {
		_, err := db.RunAction(context.Background(), engine.Call{Function: "auth:signIn", Args: json.RawMessage(fmt.Sprintf(
			`{"provider": "password", "params": {"flow": "signIn", "email": "ada@example.com", "password": %q}}`, try,
		))})
		fmt.Println(try, err)
	}
	// Output:
	// hunter3 wrong e-mail address or password
	// hunter2 <nil>
}
