package triggers_test

import (
	"context"
	"fmt"
	"log"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage/memstore"
	"github.com/mimosadb/mimosa/triggers"
)

type Student struct {
	Name   string `json:"name"`
	Course string `json:"course"`
}

type Enrolment struct {
	Student engine.ID[Student] `json:"student"`
	Course  string             `json:"course"`
}

// A new student is enrolled in a course, in the transaction that creates the student: both are there, or neither.
func ExampleOnCreate() {
	s := engine.NewSchema()
	students := engine.Define[Student](s, "students")
	enrolments := engine.Define[Enrolment](s, "enrolments")

	triggers.OnCreate(students, "enrol", func(tx *engine.Tx, st *engine.Doc[Student]) error {
		if st.Value.Course != "go" {
			return engine.Errorf(engine.CodeNotFound, "there is no course %q", st.Value.Course)
		}
		_, err := enrolments.Insert(tx, Enrolment{Student: st.ID, Course: st.Value.Course})
		return err
	})

	db, err := engine.Open(s, engine.Options{Store: memstore.New(memstore.Options{})})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	ctx := context.Background()
	for _, st := range []Student{{"Ada", "go"}, {"Bob", "knitting"}} {
		err := db.Update(ctx, func(tx *engine.Tx) error {
			_, err := students.Insert(tx, st)
			return err
		})
		fmt.Println(st.Name, err)
	}
	err = db.View(ctx, func(tx *engine.ReadTx) error {
		n, err := students.All(tx).Count()
		if err != nil {
			return err
		}
		m, err := enrolments.All(tx).Count()
		fmt.Println(n, "student,", m, "enrolment")
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// Ada <nil>
	// Bob triggers: students.OnCreate(enrol): there is no course "knitting"
	// 1 student, 1 enrolment
}
