package authmod

import (
	"encoding/json"
	"errors"
	"reflect"

	"github.com/mimosadb/mimosa/engine"
)

// SignInInfo says what sign-in a transaction belongs to.
type SignInInfo struct {
	// Provider is the module's name, such as "password".
	Provider string
	// Flow is the module's, such as "signUp"; empty for modules with only one.
	Flow string
	// AccountID is who signs in, in the provider's words: an e-mail address, a subject.
	AccountID string
	// NewUser says that the transaction creates the user.
	NewUser bool
	// Linked says that the account is new and its user is not: they proved the same address before, linked it while signed
	// in, or were a temporary user until now.
	Linked bool
	// Upgraded says that they were a temporary user, such as an anonymous one, until now. What the sign-up says is merged into
	// their document.
	Upgraded bool
	// User is the user's document. It is empty while a new user is being created, so in the triggers that its insertion
	// fires: they are given the document.
	User string
	// Previous is the user who called, where that is another than the one who signs in; a temporary user's documents can be
	// handed over from it. Empty when nobody called.
	Previous string
	// Session is the new session's document, for OnSignIn alone; empty before.
	Session string

	params json.RawMessage
	shapes map[reflect.Type]any
}

type infoKey struct{}

// SignIn returns what sign-in the transaction belongs to, and nil outside of one: when a user is created by an import, a
// webhook, the dashboard or a mutation of the application. It must not be changed.
func SignIn(r engine.Reader) *SignInInfo {
	info, _ := r.Local(infoKey{}).(*SignInInfo)
	return info
}

// ErrNoSignIn is returned by Params outside of a sign-in.
var ErrNoSignIn = errors.New("authmod: the transaction does not belong to a sign-in")

// Params returns the parameters that the client passed to auth:signIn beside those that the module itself uses: what a form
// asked on sign-up. Reserved ones (flow, password, newPassword, code, redirectTo, refreshToken) are never among them, and
// email is the normalised one.
//
// On sign-up they were validated against the module's Profile, if it has one. P is the profile's own type, or any struct: then
// they are decoded as encoding/json does, without what P has no field for. Outside of a sign-in the error is ErrNoSignIn; a
// member of another type than P's is an error of code invalid.
func Params[P any](r engine.Reader) (P, error) {
	var p P
	info := SignIn(r)
	if info == nil {
		return p, ErrNoSignIn
	}
	if len(info.params) == 0 {
		return p, nil
	}
	// The profile's own type may use types that only the wire knows, such as engine.Int64.
	if shape, ok := info.shapes[reflect.TypeFor[P]()].(*engine.Shape[P]); ok && info.NewUser {
		return shape.Decode(withoutEmail[P](info.params))
	}
	if err := json.Unmarshal(info.params, &p); err != nil {
		issue := engine.Issue{Rule: "type", Message: "has the wrong type"}
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			issue.Path = wrong.Field
		}
		return p, engine.Errorf(engine.CodeInvalid, "invalid sign-in parameters: %w", err).WithIssues(issue)
	}
	return p, nil
}

// withoutEmail leaves the address out where P has no field for it, as Sheet.Check does.
func withoutEmail[P any](params json.RawMessage) json.RawMessage {
	var members map[string]json.RawMessage
	if hasJSONField(reflect.TypeFor[P](), "email") || json.Unmarshal(params, &members) != nil {
		return params
	}
	delete(members, "email")
	return encodeObject(members)
}
