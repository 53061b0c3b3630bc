package password_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// Passwords that are guessed first are refused beside short ones. A program would read them from a file, or embed one.
func ExampleBlocklist() {
	listed, err := password.Blocklist(strings.NewReader("correct horse battery staple\nletmein letmein\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = password.New(password.Options{MinLength: 12, ValidatePassword: listed})
	fmt.Println(listed("Correct Horse Battery Staple") != nil, listed("the horse was correct") != nil)
	// Output: true false
}

// Hashes stand by themselves, for an import of accounts for instance.
func ExampleArgon2id() {
	hash, err := password.Argon2id{Memory: 19 << 10}.Hash("correct horse battery staple")
	if err != nil {
		fmt.Println(err)
		return
	}
	right, err := password.Argon2id{}.Verify(hash, "correct horse battery staple")
	fmt.Println(hash[:31], right, err)
	// Output: $argon2id$v=19$m=19456,t=2,p=1$ true <nil>
}

// Users of another system keep their passwords: their hashes come along, and are replaced as they sign in.
func ExampleNew_import() {
	s := engine.NewSchema()
	users := engine.Define[User](s, "users")
	auth := authmod.New(s, users, authmod.Options{Modules: []authmod.Module{password.New(password.Options{})}})
	db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()

	err = db.Update(context.Background(), func(tx *engine.Tx) error {
		id, err := users.Insert(tx, User{authmod.UserFields{Email: "ada@example.com", EmailVerified: true}})
		if err != nil {
			return err
		}
		_, err = auth.Accounts().Insert(tx, authmod.Account{
			Provider: "password", ProviderAccountID: "ada@example.com", User: string(id),
			Secret: "$2y$10$N9qo8uLOickgx2ZMRZoMyehtJ/whDdsI.d1w/JqKiOrDw8pCT0JLG",
			// The other system had verified it. Other ways to sign in with this address become hers.
			VerifiedEmail: "ada@example.com",
		})
		return err
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = db.RunAction(context.Background(), engine.Call{Function: "auth:signIn", Args: json.RawMessage(
		`{"provider": "password", "params": {"flow": "signIn", "email": "Ada@Example.com", "password": "correct horse battery staple"}}`,
	)})
	fmt.Println("signed in:", err == nil)
	// Output: signed in: true
}

// People prove their address by a code before they are signed in, and set a new password by one when they have forgotten theirs.
func ExampleOptions_verify() {
	mails := make(chan authmod.Message, 10)
	s := engine.NewSchema()
	users := engine.Define[User](s, "users")
	authmod.New(s, users, authmod.Options{Modules: []authmod.Module{password.New(password.Options{
		Verify: true,
		Send: func(_ context.Context, m authmod.Message) error {
			switch m.Purpose {
			case authmod.PurposeVerify: // "Welcome! Your code is …"
			case authmod.PurposeReset: // "Somebody wants to set a new password for your account. If that is you, the code is …"
			case authmod.PurposeExists: // "You have an account already. If you have forgotten your password, …"; there is no code
			}
			mails <- m // in place of a mail server
			return nil
		},
	})}})
	db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()

	call := func(params string, a ...any) {
		res, err := db.RunAction(context.Background(), engine.Call{
			Function: "auth:signIn", Args: json.RawMessage(fmt.Sprintf(`{"provider": "password", "params": `+params+`}`, a...)),
		})
		fmt.Println(strings.HasPrefix(string(res.Value), `{"tokens":{"token":`), string(res.Value) == `{"started":true}`, err)
	}
	call(`{"flow": "signUp", "email": "ada@example.com", "password": "correct horse battery staple"}`)
	call(`{"flow": "email-verification", "email": "ada@example.com", "code": %q, "password": "correct horse battery staple"}`,
		(<-mails).Code)
	call(`{"flow": "reset", "email": "ada@example.com"}`)
	call(`{"flow": "reset-verification", "email": "ada@example.com", "code": %q, "newPassword": "a horse that is correct"}`, (<-mails).Code)
	// Output:
	// false true <nil>
	// true false <nil>
	// false true <nil>
	// true false <nil>
}
