package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"golang.org/x/oauth2"
)

// GitHub's addresses, those of its API, and its issuer, as
// docs.github.com/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps, docs.github.com/rest/users and
// docs.github.com/apps/github-authentication-discovery-endpoints have them.
const (
	githubAuthorize = "https://github.com/login/oauth/authorize"
	githubToken     = "https://github.com/login/oauth/access_token"
	githubUser      = "https://api.github.com/user"
	githubEmails    = "https://api.github.com/user/emails?per_page=100"
	githubIssuer    = "https://github.com/login/oauth"
)

// github asks GitHub's API who it is: it gives no ID tokens.
type github struct{}

func (github) problem() string  { return "" }
func (github) scopes() []string { return []string{"read:user", "user:email"} }

func (github) endpoint(context.Context, *http.Client) (endpoint, error) {
	return endpoint{
		Endpoint: oauth2.Endpoint{AuthURL: githubAuthorize, TokenURL: githubToken, AuthStyle: oauth2.AuthStyleInParams},
		issuer:   githubIssuer,
	}, nil
}

func (github) person(ctx context.Context, c *http.Client, q question) (Person, error) {
	var raw json.RawMessage
	if err := getJSON(ctx, c, githubUser, q.token, &raw); err != nil {
		return Person{}, err
	}
	var user struct {
		ID        int64  `json:"id"`
		Login     string `json:"login"`
		Name      string `json:"name"`
		AvatarURL string `json:"avatar_url"`
		Email     string `json:"email"` // the one that the person shows in public, if any
	}
	if err := json.Unmarshal(raw, &user); err != nil {
		return Person{}, fmt.Errorf("GitHub's user: %w", err)
	}
	if user.ID <= 0 {
		return Person{}, errors.New("GitHub's user has no id")
	}
	p := Person{
		ID: strconv.FormatInt(user.ID, 10), Login: user.Login, Name: user.Name, Image: user.AvatarURL, Email: user.Email, Claims: raw,
	}
	if p.Name == "" {
		p.Name = user.Login
	}
	type address struct {
		Email    string `json:"email"`
		Primary  bool   `json:"primary"`
		Verified bool   `json:"verified"`
	}
	var addresses []address
	err := getJSON(ctx, c, githubEmails, q.token, &addresses)
	var status *statusError
	switch {
	case errors.As(err, &status) && (status.status == http.StatusForbidden || status.status == http.StatusNotFound):
		// The person, or the application's owner, did not grant that. What is shown in public need not be verified.
		return p, nil
	case err != nil:
		return Person{}, err
	}
	if i := slices.IndexFunc(addresses, func(a address) bool { return a.Primary }); i >= 0 {
		p.Email, p.EmailVerified = addresses[i].Email, addresses[i].Verified
	}
	return p, nil
}

// question is what a provider is asked who somebody is by.
type question struct {
	token    *oauth2.Token
	clientID string
	nonce    string
	now      func() time.Time
}
