package oauth

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// openID is a provider that OpenID Connect Discovery says all about. What it says is fetched when it is first needed, and kept;
// its keys are fetched again when a token is signed by one that is not known.
type openID struct {
	issuer string
	// turn holds what was found, and is held by whoever looks for it.
	turn chan *discovered
}

type discovered struct {
	*oidc.Provider
	keys     oidc.KeySet
	endpoint endpoint
	userInfo string
	algs     []string
}

func newOpenID(issuer string) *openID {
	p := &openID{issuer: issuer, turn: make(chan *discovered, 1)}
	p.turn <- nil
	return p
}

func (p *openID) problem() string {
	if u, err := url.Parse(p.issuer); err != nil || !trustworthy(u) || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Sprintf("the issuer is %q, and must be an https address (or http://localhost…) without a query", p.issuer)
	}
	return ""
}

// trustworthy says whether what goes to an address, and comes from there, is read by nobody on the way.
func trustworthy(u *url.URL) bool {
	host := u.Hostname()
	ip := net.ParseIP(host)
	local := host == "localhost" || ip != nil && ip.IsLoopback()
	return host != "" && (u.Scheme == "https" || u.Scheme == "http" && local)
}

func (p *openID) scopes() []string { return []string{oidc.ScopeOpenID, "email", "profile"} }

func (p *openID) endpoint(ctx context.Context, c *http.Client) (endpoint, error) {
	d, err := p.discover(ctx, c)
	if err != nil {
		return endpoint{}, err
	}
	return d.endpoint, nil
}

// discover fetches what the provider says about itself, once. Those who come meanwhile wait; an error is not kept.
func (p *openID) discover(ctx context.Context, c *http.Client) (d *discovered, err error) {
	select {
	case d = <-p.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { p.turn <- d }()
	if d != nil {
		return d, nil
	}
	d, err = p.fetch(ctx, c)
	return d, err
}

func (p *openID) fetch(ctx context.Context, c *http.Client) (*discovered, error) {
	found, err := oidc.NewProvider(withClient(ctx, c), p.issuer)
	if err != nil {
		return nil, err
	}
	var says struct {
		Authorize string   `json:"authorization_endpoint"`
		Token     string   `json:"token_endpoint"`
		UserInfo  string   `json:"userinfo_endpoint"`
		Keys      string   `json:"jwks_uri"`
		Algs      []string `json:"id_token_signing_alg_values_supported"`
		Methods   []string `json:"token_endpoint_auth_methods_supported"`
		Iss       bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := found.Claims(&says); err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	for name, address := range map[string]string{
		"authorization_endpoint": says.Authorize, "token_endpoint": says.Token,
		"jwks_uri": says.Keys, "userinfo_endpoint": says.UserInfo,
	} {
		u, err := url.Parse(address)
		if (err != nil || !trustworthy(u)) && (address != "" || name != "userinfo_endpoint") {
			return nil, fmt.Errorf("discovery: %s is %q, which is no https address", name, address)
		}
	}
	d := &discovered{Provider: found, userInfo: says.UserInfo}
	// The set is kept for longer than this call. Its requests end by the client's own limit of time.
	d.keys = oidc.NewRemoteKeySet(withClient(context.Background(), c), says.Keys)
	for _, a := range says.Algs {
		if slices.Contains(asymmetric, a) {
			d.algs = append(d.algs, a)
		}
	}
	d.endpoint = endpoint{Endpoint: found.Endpoint(), issuer: p.issuer, announcesIssuer: says.Iss}
	d.endpoint.AuthStyle = oauth2.AuthStyleInHeader // what is meant where nothing is said: OpenID Connect Discovery 1.0, section 3
	if len(says.Methods) > 0 && !slices.Contains(says.Methods, "client_secret_basic") {
		d.endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return d, nil
}

// asymmetric are the algorithms of ID tokens that are accepted, where a provider announces them; RS256 where it announces none.
var asymmetric = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA,
}

// person verifies the ID token, and asks for the user info where the token does not say the address.
func (p *openID) person(ctx context.Context, c *http.Client, q question) (Person, error) {
	d, err := p.discover(ctx, c)
	if err != nil {
		return Person{}, err
	}
	raw, ok := q.token.Extra("id_token").(string)
	if !ok || raw == "" {
		return Person{}, errors.New("the provider gave no ID token")
	}
	verifier := oidc.NewVerifier(p.issuer, d.keys, &oidc.Config{ClientID: q.clientID, SupportedSigningAlgs: d.algs, Now: q.now})
	token, err := verifier.Verify(withClient(ctx, c), raw)
	if err != nil {
		return Person{}, fmt.Errorf("the ID token: %w", err)
	}
	if err := check(token, q); err != nil {
		return Person{}, fmt.Errorf("the ID token: %w", err)
	}
	claims := map[string]json.RawMessage{}
	if err := token.Claims(&claims); err != nil {
		return Person{}, fmt.Errorf("the ID token: %w", err)
	}
	if _, said := claims["email"]; !said && d.userInfo != "" {
		if err := moreClaims(ctx, c, d.userInfo, q, token.Subject, claims); err != nil {
			return Person{}, err
		}
	}
	return personOf(token.Subject, claims)
}

// check is what go-oidc leaves to its callers: OpenID Connect Core 1.0, section 3.1.3.7, numbers 4, 5 and 11, and 3.1.3.8.
func check(token *oidc.IDToken, q question) error {
	if subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(q.nonce)) != 1 {
		return errors.New("its nonce is of another sign-in")
	}
	var party struct {
		Authorized *string `json:"azp"`
	}
	if err := token.Claims(&party); err != nil {
		return err
	}
	switch {
	case party.Authorized != nil && *party.Authorized != q.clientID:
		return errors.New("it was issued to another client")
	case party.Authorized == nil && len(token.Audience) > 1:
		return errors.New("it has several audiences and does not say to whom it was issued")
	case token.AccessTokenHash != "":
		return token.VerifyAccessToken(q.token.AccessToken)
	}
	return nil
}

// moreClaims adds what the user info says to claims that it does not contradict.
func moreClaims(
	ctx context.Context, c *http.Client, address string, q question, subject string, claims map[string]json.RawMessage,
) error {
	more := map[string]json.RawMessage{}
	if err := getJSON(ctx, c, address, q.token, &more); err != nil {
		return fmt.Errorf("the user info: %w", err)
	}
	var of string
	if err := json.Unmarshal(more["sub"], &of); err != nil || of != subject {
		return errors.New("the user info is about somebody else")
	}
	maps.DeleteFunc(more, func(name string, _ json.RawMessage) bool { _, known := claims[name]; return known })
	maps.Copy(claims, more)
	return nil
}

// ofTheToken are claims that say something about the token and nothing about the person.
var ofTheToken = []string{"aud", "azp", "exp", "iat", "nbf", "jti", "nonce", "at_hash", "c_hash", "s_hash"}

// personOf reads the standard claims: OpenID Connect Core 1.0, section 5.1. A claim of another type counts for nothing.
func personOf(subject string, claims map[string]json.RawMessage) (Person, error) {
	text := func(name string) (s string) {
		if json.Unmarshal(claims[name], &s) != nil {
			return ""
		}
		return s
	}
	maps.DeleteFunc(claims, func(name string, _ json.RawMessage) bool { return slices.Contains(ofTheToken, name) })
	all, err := json.Marshal(claims)
	if err != nil {
		return Person{}, err
	}
	p := Person{
		ID: subject, Email: text("email"), Name: text("name"), Image: text("picture"), Login: text("preferred_username"), Claims: all,
	}
	// Some providers write it as a string.
	p.EmailVerified = string(claims["email_verified"]) == "true" || strings.EqualFold(text("email_verified"), "true")
	return p, nil
}
