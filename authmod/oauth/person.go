package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/mimosadb/mimosa/authmod"
)

// Person is who a provider says it is.
type Person struct {
	// ID is the provider's own and never changes: the claim sub, GitHub's numeric id. It is the account's id.
	ID string `json:"id"`
	// Email is normalised; empty where the provider gave none.
	Email string `json:"email,omitempty"`
	// EmailVerified says that the provider vouches for it. Only then it links, see authmod.Completion.
	EmailVerified bool   `json:"emailVerified,omitempty"`
	Name          string `json:"name,omitempty"`
	// Image is the address of a picture.
	Image string `json:"image,omitempty"`
	// Login is the name under which the provider shows the person. People change theirs, and others take it over.
	Login string `json:"login,omitempty"`
	// Claims is all that the provider said: the claims of the ID token and the user info, or GitHub's user. It is what the
	// provider and the person chose to say, so only as good as they are.
	Claims json.RawMessage `json:"claims,omitempty"`
}

// Profile makes the user document of somebody who signs up. It is made by NewProfile.
type Profile = authmod.ProfileFor[Person]

// NewProfile makes a Profile of a function. P is a struct: the parameters that the client passed when the sign-in began, with
// the rules of its json and jsonschema tags. They are validated strictly: members that P does not have are refused. T is the
// type of the users collection. fn runs on creation only, when the person has come back from the provider, possibly more than
// once for one sign-up. It may refuse with an engine.Errorf, which reaches the client as it is.
func NewProfile[P, T any](fn func(who Person, params P) (T, error)) Profile {
	return authmod.NewProfileFor(fn)
}

// userFields is what users have without a profile.
func (p Person) userFields() authmod.UserFields {
	return authmod.UserFields{Email: p.Email, EmailVerified: p.EmailVerified, Name: p.Name, Image: p.Image}
}

const (
	maxID     = 255      // OpenID Connect Core 1.0, section 2: sub
	maxClaims = 64 << 10 // they are stored until the person comes back
)

// settled checks a person and brings it into its form. trust says whether the provider's word on addresses counts.
func (p Person) settled(trust bool) (Person, error) {
	if p.ID == "" || len(p.ID) > maxID {
		return Person{}, errors.New("the provider named nobody")
	}
	if len(p.Claims) > maxClaims {
		return Person{}, fmt.Errorf("the provider said %d bytes about somebody, more than %d", len(p.Claims), maxClaims)
	}
	p.Name, p.Login, p.Image = strings.TrimSpace(p.Name), strings.TrimSpace(p.Login), strings.TrimSpace(p.Image)
	p.EmailVerified = p.EmailVerified && authmod.VouchedEmail(p.Email) != "" && trust
	p.Email = authmod.NormalizeEmail(p.Email)
	if !authmod.ValidEmail(p.Email) {
		p.Email = ""
	}
	return p, nil
}
