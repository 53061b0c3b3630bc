package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"golang.org/x/oauth2"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

// maxCallback bounds the query with which a provider sends people back, in bytes. Codes of some providers have 2 KB.
const maxCallback = 8 << 10

// What went wrong, as the parameter error of the address to which people come back says it.
const (
	failedState    = "invalid_state"   // the sign-in is not known, over, or somebody has come back to it already
	failedProvider = "provider_failed" // the provider did not say who it is, or nothing that can be trusted
	failedInternal = "internal"
)

// said are the errors of providers that are passed on: RFC 6749, section 4.1.2.1; OpenID Connect Core 1.0, section 3.1.2.6.
var said = []string{
	"access_denied", "server_error", "temporarily_unavailable", "interaction_required", "login_required", "consent_required",
	"account_selection_required",
}

// ServeAuth implements authmod.Endpoint: people come back from the provider.
func (m *module) ServeAuth(db *engine.DB, w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path != "/callback":
		authmod.Refuse(w, http.StatusNotFound, engine.CodeNotFound, "there is nothing here")
		return
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		authmod.Refuse(w, http.StatusMethodNotAllowed, engine.CodeInvalid, "only GET is answered here")
		return
	case len(r.URL.RawQuery) > maxCallback:
		authmod.Refuse(w, http.StatusRequestURITooLong, engine.CodeTooLarge, "the query is too long")
		return
	}
	back, name, value := m.returned(r.Context(), db, r.URL.RawQuery)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, withQuery(back, name, value), http.StatusFound)
}

// returned deals with an answer of the provider's. It says where to go on, with which parameter.
func (m *module) returned(ctx context.Context, db *engine.DB, query string) (back, name, value string) {
	a, ok := parseAnswer(query)
	if !ok {
		return m.targets.home, "error", failedState
	}
	d, err := m.pending.take(ctx, db, m.name, a.state)
	switch {
	case errors.Is(err, errOver):
		return m.targets.home, "error", failedState
	case err != nil:
		m.log(db, "a sign-in could not be read", err)
		return m.targets.home, "error", failedInternal
	}
	code, failed := m.finish(ctx, db, d, a)
	if failed == "" {
		return d.Value.RedirectTo, "code", code
	}
	if err := m.pending.drop(ctx, db, d.ID); err != nil { // it is of no use any more, and goes when it expires
		m.log(db, "a sign-in that failed was not removed", err)
	}
	return d.Value.RedirectTo, "error", failed
}

// providerAnswer is what a provider sends people back with.
type providerAnswer struct {
	state, code, failure string
	issuer               *string
}

// parseAnswer reads an answer; false where a parameter comes twice, so that nobody takes the other one.
func parseAnswer(query string) (a providerAnswer, ok bool) {
	q, err := url.ParseQuery(query)
	if err != nil {
		return a, false
	}
	for name, to := range map[string]*string{"state": &a.state, "code": &a.code, "error": &a.failure} {
		if len(q[name]) > 1 {
			return a, false
		}
		*to = q.Get(name)
	}
	if iss := q["iss"]; len(iss) > 1 {
		return a, false
	} else if len(iss) == 1 {
		a.issuer = &iss[0]
	}
	return a, true
}

// finish finds out who it is, and returns the code for which that is to be had, or what failed.
func (m *module) finish(ctx context.Context, db *engine.DB, d *engine.Doc[pending], a providerAnswer) (code, failed string) {
	ctx, cancel := context.WithTimeout(ctx, m.options.Timeout)
	defer cancel()
	who, failed, err := m.ask(ctx, db, d.Value, a)
	if failed != "" {
		if err != nil {
			m.log(db, "nobody can be signed in by what the provider answered", err)
		}
		return "", failed
	}
	code, err = m.pending.settle(ctx, db, d.ID, who)
	switch {
	case errors.Is(err, errOver):
		return "", failedState
	case err != nil:
		m.log(db, "a sign-in could not be stored", err)
		return "", failedInternal
	}
	return code, ""
}

// ask gets from the provider who it is.
func (m *module) ask(ctx context.Context, db *engine.DB, p pending, a providerAnswer) (who Person, failed string, err error) {
	e, err := m.provider.endpoint(ctx, m.client)
	if err != nil {
		return who, failedProvider, err
	}
	// An answer of another provider's must not be acted upon, errors included: RFC 9207, section 2.4.
	if err := e.checkIssuer(a.issuer); err != nil {
		return who, failedProvider, err
	}
	switch {
	case slices.Contains(said, a.failure):
		return who, a.failure, nil
	case a.failure != "":
		return who, failedProvider, fmt.Errorf("the provider refused with %.100q", a.failure)
	case a.code == "":
		return who, failedProvider, errors.New("the provider gave no code")
	}
	token, err := m.config(e).Exchange(withClient(ctx, m.client), a.code, oauth2.VerifierOption(derive("pkce", a.state, p.Salt)))
	if err != nil {
		return who, failedProvider, fmt.Errorf("the code was not exchanged: %w", err)
	}
	who, err = m.provider.person(ctx, m.client, question{
		token: token, clientID: m.options.ClientID, nonce: derive("nonce", a.state, p.Salt), now: db.Now,
	})
	if err == nil {
		who, err = who.settled(!m.options.DistrustEmail)
	}
	if err != nil {
		return Person{}, failedProvider, err
	}
	return who, "", nil
}

// checkIssuer compares the parameter iss of an answer.
func (e endpoint) checkIssuer(given *string) error {
	switch {
	case given == nil && e.announcesIssuer:
		return errors.New("the answer does not say by whom it is")
	case given != nil && *given != e.issuer:
		return errors.New("the answer is another provider's")
	}
	return nil
}

// redacted is the text of an error for the log, without what a provider answered: that may repeat what it was asked.
func redacted(err error) string {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		status := 0
		if refused.Response != nil {
			status = refused.Response.StatusCode
		}
		return fmt.Sprintf("the code was not exchanged: status %d, error %.100q", status, refused.ErrorCode)
	}
	return fmt.Sprintf("%.300s", err)
}
