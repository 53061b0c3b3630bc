package password

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

// givenPassword reads the parameter of that name. Passwords are composed (NFC), so that the same keys give the same password on every
// system; nothing is trimmed and no case folded.
func givenPassword(a *authmod.Attempt, name string) (string, *engine.Issue) {
	given, issue := a.Reserved(name)
	if issue != nil {
		return "", issue
	}
	if given == "" {
		return "", &engine.Issue{Path: name, Rule: "required", Message: "is missing"}
	}
	// Before it is composed too, which bounds that work; composing may also lengthen.
	if password := norm.NFC.String(given[:min(len(given), maxBytes+1)]); len(given) <= maxBytes && len(password) <= maxBytes {
		return password, nil
	}
	return "", &engine.Issue{Path: name, Rule: "maxLength", Message: fmt.Sprintf("must have at most %d bytes", maxBytes)}
}

// newPassword reads the parameter of that name and holds it against what is asked of new passwords of whoever has this address.
func (m *module) newPassword(a *authmod.Attempt, name, email string) (string, []engine.Issue) {
	password, issue := givenPassword(a, name)
	if issue != nil {
		return "", []engine.Issue{*issue}
	}
	var issues []engine.Issue
	if utf8.RuneCountInString(password) < m.options.MinLength {
		issues = append(issues, engine.Issue{
			Path: name, Rule: "minLength", Message: fmt.Sprintf("must have at least %d characters", m.options.MinLength),
		})
	}
	if resembles(password, email) {
		issues = append(issues, engine.Issue{Path: name, Rule: "email", Message: "must not be the e-mail address"})
	}
	if m.options.ValidatePassword != nil {
		if err := m.options.ValidatePassword(password); err != nil {
			issues = append(issues, refusal(name, err)...)
		}
	}
	return password, issues
}

// refusal makes issues of what ValidatePassword returned.
func refusal(name string, err error) []engine.Issue {
	var e *engine.Error
	if !errors.As(err, &e) || len(e.Issues) == 0 {
		return []engine.Issue{{Path: name, Rule: "password", Message: err.Error()}}
	}
	issues := append([]engine.Issue(nil), e.Issues...)
	for i := range issues {
		if issues[i].Path == "" || issues[i].Path == "password" {
			issues[i].Path = name
		}
	}
	return issues
}
