package webhook_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/webhook"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/triggers"
)

// Student is the application's user.
type Student struct {
	authmod.UserFields
	Role string `json:"role"`
}

// Place is a student's place in a course.
type Place struct {
	Student engine.ID[Student] `json:"student"`
	Course  string             `json:"course"`
}

// Users of Clerk get a document of the application's, with a role and a place in a course, in one transaction and once,
// however often Clerk sends.
func Example() {
	s := engine.NewSchema()
	students := engine.Define[Student](s, "students")
	places := engine.Define[Place](s, "places")
	auth := authmod.New(s, students, authmod.Options{Modules: []authmod.Module{
		webhook.Clerk(webhook.Options{
			Secrets: []string{clerkSecret}, // a program takes it from its environment
			Users: authmod.NewMapping(func(in webhook.ClerkUser, u *Student) error {
				u.UserFields = in.Fields()
				if u.Role == "" {
					u.Role = "student"
				}
				return nil
			}),
		}),
	}})
	triggers.OnCreate(students, "enrol", func(tx *engine.Tx, u *engine.Doc[Student]) error {
		_, err := places.Insert(tx, Place{u.ID, "introduction"})
		return err
	})
	db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()

	body := clerkUser("user.created", "user_1", "ada@example.com", at(1))
	for range 2 {
		r := httptest.NewRequest(http.MethodPost, "/api/auth/clerk-webhook", strings.NewReader(body))
		r.Header = signed("svix", "msg_1", time.Now(), clerkSecret, body) // as Clerk does
		w := httptest.NewRecorder()
		auth.Handler().ServeHTTP(w, r)
		fmt.Println(w.Code, w.Body)
	}
	err = db.View(context.Background(), func(tx *engine.ReadTx) error {
		for d, err := range students.All(tx).Docs() {
			if err != nil {
				return err
			}
			fmt.Println(d.Value.Email, d.Value.EmailVerified, d.Value.Role)
		}
		n, err := places.All(tx).Count()
		fmt.Println(n, "place")
		return err
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// 200 {"outcome":"applied"}
	// 200 {"outcome":"duplicate"}
	// ada@example.com true student
	// 1 place
}
