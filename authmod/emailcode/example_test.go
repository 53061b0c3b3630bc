package emailcode_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/emailcode"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// Member is the application's user.
type Member struct {
	authmod.UserFields
	Nickname string `json:"nickname"`
}

// Form is what the sign-up form asks beside the address.
type Form struct {
	Nickname string `json:"nickname" jsonschema:"minLength=2"`
}

// A sign-up by a code from a mail.
func Example() {
	mailbox := make(chan authmod.Message, 1)
	send := func(_ context.Context, m authmod.Message) error {
		mailbox <- m // a program hands it to its mail service, and heeds the context
		return nil
	}
	s := engine.NewSchema()
	members := engine.Define[Member](s, "members")
	authmod.New(s, members, authmod.Options{Modules: []authmod.Module{
		emailcode.New(emailcode.Options{
			Send: send, Link: "https://app.example/signin",
			Profile: authmod.NewProfile(func(f Form) (Member, error) { return Member{Nickname: f.Nickname}, nil }),
		}),
	}})
	engine.Query(s, "members:me", func(tx *engine.ReadTx, _ struct{}) (string, error) {
		me, err := authmod.UserID(tx, members)
		if err != nil {
			return "", err
		}
		m, err := members.Get(tx, me)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%s, %s, verified: %v", m.Value.Nickname, m.Value.Email, m.Value.EmailVerified), nil
	})
	db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	// What a client's calls come to.
	signIn := func(args string) *engine.Result {
		res, err := db.RunAction(context.Background(), engine.Call{Function: "auth:signIn", Args: json.RawMessage(args)})
		if err != nil {
			log.Fatal(err)
		}
		return res
	}
	begun := signIn(`{"provider": "emailcode", "params": {"email": "Ada@Example.com", "nickname": "Ada"}}`)
	fmt.Println(string(begun.Value))
	mail := <-mailbox
	signedIn := signIn(`{"provider": "emailcode", "params": {"email": "ada@example.com", "code": "` + mail.Code + `"}}`)
	me, err := db.RunQuery(context.Background(), engine.Call{Function: "members:me", Principal: signedIn.Principal})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(me.Value))
	// Output:
	// {"started":true}
	// "Ada, ada@example.com, verified: true"
}
