package anonymous_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/anonymous"
	"github.com/mimosadb/mimosa/authmod/password"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
)

// Customer is the application's user.
type Customer struct{ authmod.UserFields }

// Basket is what a customer is going to buy.
type Basket struct {
	Customer engine.ID[Customer] `json:"customer"`
	Articles []string            `json:"articles"`
}

// A shop: who fills a basket before they say who they are keeps it. A sign-up keeps the user, so there is nothing to do; at a
// sign-in to an account that was there before OnSignIn takes the basket along.
func Example() {
	s := engine.NewSchema()
	customers, baskets := engine.Define[Customer](s, "customers"), engine.Define[Basket](s, "baskets")
	byCustomer := baskets.AddIndex("customer", "customer")

	authmod.New(s, customers, authmod.Options{
		Modules: []authmod.Module{
			anonymous.New(anonymous.Options{MaxAge: 30 * 24 * time.Hour}),
			password.New(password.Options{}),
		},
		OnSignIn: func(tx *engine.Tx, in *authmod.SignInInfo) error {
			if in.Previous == "" {
				return nil
			}
			for b, err := range byCustomer.Eq(tx, in.Previous).Docs() {
				if err != nil {
					return err
				}
				err := baskets.Patch(tx, b.ID, func(b *Basket) error { b.Customer = engine.ID[Customer](in.User); return nil })
				if err != nil {
					return err
				}
			}
			return nil
		},
	})
	engine.Mutation(s, "basket:fill", func(tx *engine.Tx, in struct{ Article string }) (engine.ID[Basket], error) {
		me, err := authmod.UserID(tx, customers)
		if err != nil {
			return "", err
		}
		return baskets.Insert(tx, Basket{me, []string{in.Article}})
	})
	engine.Query(s, "basket:mine", func(tx *engine.ReadTx, _ struct{}) ([]string, error) {
		me, err := authmod.UserID(tx, customers)
		if err != nil {
			return nil, err
		}
		basket, err := byCustomer.Eq(tx, me).First()
		if err != nil {
			return nil, err
		}
		return basket.Value.Articles, nil
	})
	db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	// What a client's calls come to.
	var me engine.Principal
	signIn := func(args string) {
		res, err := db.RunAction(context.Background(), engine.Call{Function: "auth:signIn", Args: json.RawMessage(args), Principal: me})
		if err != nil {
			log.Fatal(err)
		}
		me = res.Principal
	}
	signIn(`{"provider": "anonymous"}`)
	_, err = db.RunMutation(context.Background(), engine.Call{
		Function: "basket:fill", Args: json.RawMessage(`{"Article": "a teapot"}`), Principal: me,
	})
	if err != nil {
		log.Fatal(err)
	}
	signIn(`{"provider": "password", "params": {"flow": "signUp", "email": "ada@example.com", "password": "correct horse battery"}}`)
	mine, err := db.RunQuery(context.Background(), engine.Call{Function: "basket:mine", Principal: me})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(mine.Value))
	// Output: ["a teapot"]
}
