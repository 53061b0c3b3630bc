package oidctest

import (
	"crypto/rand"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"

	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Person is somebody with an account at the provider.
type Person struct {
	Subject, Username, Password string
	FirstName, LastName         string
	Email                       string
	EmailVerified               bool
}

// Client is a program that is registered with the provider. One without a secret goes by PKCE alone.
type Client struct {
	ID, Secret string
	// Callbacks are the addresses to which the provider sends people back.
	Callbacks []string
}

// Handler serves a provider. issuer is the address at which it is served, such as "http://127.0.0.1:9998". Each has a signing
// key of its own.
func Handler(issuer string, client Client, people ...Person) (http.Handler, error) {
	users := directory{}
	for _, p := range people {
		users[p.Subject] = &storage.User{
			ID: p.Subject, Username: p.Username, Password: p.Password, FirstName: p.FirstName, LastName: p.LastName,
			Email: p.Email, EmailVerified: p.EmailVerified,
		}
	}
	registered := storage.WebClient(client.ID, client.Secret, client.Callbacks...)
	if client.Secret == "" {
		registered = storage.NativeClient(client.ID, client.Callbacks...)
	}
	store := storage.NewStorageWithClients(users, map[string]*storage.Client{client.ID: registered})
	config := &op.Config{CodeMethodS256: true, AuthMethodPost: true}
	if _, err := rand.Read(config.CryptoKey[:]); err != nil {
		return nil, err
	}
	provider, err := op.NewProvider(config, store, op.StaticIssuer(issuer), op.WithAllowInsecure(),
		op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, fmt.Errorf("oidctest: %w", err)
	}
	back := op.AuthCallbackURL(provider)
	mux := http.NewServeMux()
	mux.Handle("/", provider)
	mux.HandleFunc("GET /login/username", func(w http.ResponseWriter, r *http.Request) { page(w, r.FormValue("authRequestID"), "") })
	mux.HandleFunc("POST /login/username", op.NewIssuerInterceptor(provider.IssuerFromRequest).HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			id := r.PostFormValue("id")
			if err := store.CheckUsernamePassword(r.PostFormValue("username"), r.PostFormValue("password"), id); err != nil {
				page(w, id, err.Error())
				return
			}
			http.Redirect(w, r, back(r.Context(), id), http.StatusFound)
		}))
	return mux, nil
}

var form = template.Must(template.New("login").Parse(`<!doctype html><title>Sign in</title>
<form method="post" action="/login/username"><p>{{.Problem}}</p>
<input type="hidden" name="id" value="{{.ID}}">
<input name="username" autocomplete="username"><input name="password" type="password" autocomplete="current-password">
<button>Sign in</button></form>
`))

func page(w io.Writer, id, problem string) {
	_ = form.Execute(w, struct{ ID, Problem string }{id, problem}) // whoever asked may have gone
}

// directory implements storage.UserStore.
type directory map[string]*storage.User

func (d directory) GetUserByID(id string) *storage.User { return d[id] }

func (d directory) GetUserByUsername(name string) *storage.User {
	for _, u := range d {
		if u.Username == name {
			return u
		}
	}
	return nil
}

func (directory) ExampleClientID() string { return "" }
