package main

import (
	"os"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/jwt"
)

// service accepts the tokens of the service elsewhere whose address MIMOSA_TEST_SERVICE has, if any.
func service() []authmod.Module {
	issuer := os.Getenv("MIMOSA_TEST_SERVICE")
	if issuer == "" {
		return nil
	}
	o := jwt.Clerk(issuer)
	o.AuthorizedParties = []string{"http://localhost:5173"}
	o.Algorithms = []string{"EdDSA"}
	o.Provision = authmod.NewMapping(func(c jwt.Claims, u *User) error {
		u.Nickname, u.Email = c.Name, c.Email
		return nil
	})
	return []authmod.Module{jwt.New(o)}
}
