package webhook

import (
	"encoding/json"
	"strings"

	"github.com/mimosadb/mimosa/authmod"
)

// ClerkUser is the user in Clerk's user.created and user.updated, as far as applications want it: what Options.Users maps. A
// member that is null or missing is the zero value. Times are milliseconds since the Unix epoch.
type ClerkUser struct {
	ID         string `json:"id"`
	ExternalID string `json:"external_id"`
	Username   string `json:"username"`
	FirstName  string `json:"first_name"`
	LastName   string `json:"last_name"`
	ImageURL   string `json:"image_url"`
	Locale     string `json:"locale"`

	PrimaryEmailAddressID string             `json:"primary_email_address_id"`
	EmailAddresses        []ClerkEmail       `json:"email_addresses"`
	PrimaryPhoneNumberID  string             `json:"primary_phone_number_id"`
	PhoneNumbers          []ClerkPhoneNumber `json:"phone_numbers"`

	// PublicMetadata and PrivateMetadata are written by the application's servers only; UnsafeMetadata by the users themselves,
	// so that a role does not belong there.
	PublicMetadata  json.RawMessage `json:"public_metadata"`
	PrivateMetadata json.RawMessage `json:"private_metadata"`
	UnsafeMetadata  json.RawMessage `json:"unsafe_metadata"`

	TwoFactorEnabled bool `json:"two_factor_enabled"`
	// Banned and Locked say that the user may not sign in at Clerk. Sessions that are there already end within their token's
	// lifetime, a minute; an application that wants it sooner keeps Banned in its users and asks for it.
	Banned bool `json:"banned"`
	Locked bool `json:"locked"`

	CreatedAt    int64 `json:"created_at"`
	UpdatedAt    int64 `json:"updated_at"`
	LastSignInAt int64 `json:"last_sign_in_at"`
}

// ClerkEmail is one of a user's addresses.
type ClerkEmail struct {
	ID           string            `json:"id"`
	EmailAddress string            `json:"email_address"`
	Verification ClerkVerification `json:"verification"`
}

// ClerkPhoneNumber is one of a user's numbers.
type ClerkPhoneNumber struct {
	ID           string            `json:"id"`
	PhoneNumber  string            `json:"phone_number"`
	Verification ClerkVerification `json:"verification"`
}

// ClerkVerification says whether an address or a number is the user's: Status is "verified" then.
type ClerkVerification struct {
	Status   string `json:"status"`
	Strategy string `json:"strategy"`
}

// Email returns the primary address, normalised, and whether Clerk has verified it; "" where there is none.
func (u ClerkUser) Email() (address string, verified bool) {
	for _, e := range u.EmailAddresses {
		if e.ID != "" && e.ID == u.PrimaryEmailAddressID {
			return authmod.NormalizeEmail(e.EmailAddress), e.Verification.Status == "verified"
		}
	}
	return "", false
}

// Name returns first and last name, as far as they are known.
func (u ClerkUser) Name() string { return fullName(u.FirstName, u.LastName) }

// Fields returns what authmod.UserFields has room for.
func (u ClerkUser) Fields() authmod.UserFields {
	email, verified := u.Email()
	return authmod.UserFields{Email: email, EmailVerified: verified, Name: u.Name(), Image: u.ImageURL}
}

// WorkOSUser is the user in WorkOS' user.created and user.updated: what Options.Users maps. A member that is null or missing
// is the zero value. Times are RFC 3339.
type WorkOSUser struct {
	ID                string            `json:"id"`
	ExternalID        string            `json:"external_id"`
	EmailAddress      string            `json:"email"`
	EmailVerified     bool              `json:"email_verified"`
	FirstName         string            `json:"first_name"`
	LastName          string            `json:"last_name"`
	FullName          string            `json:"name"`
	ProfilePictureURL string            `json:"profile_picture_url"`
	Locale            string            `json:"locale"`
	Metadata          map[string]string `json:"metadata"`
	CreatedAt         string            `json:"created_at"`
	UpdatedAt         string            `json:"updated_at"`
	LastSignInAt      string            `json:"last_sign_in_at"`
}

// Email returns the address, normalised, and whether WorkOS has verified it.
func (u WorkOSUser) Email() (address string, verified bool) {
	address = authmod.NormalizeEmail(u.EmailAddress)
	return address, address != "" && u.EmailVerified
}

// Name returns the name, or first and last name, as far as they are known.
func (u WorkOSUser) Name() string {
	if u.FullName != "" {
		return u.FullName
	}
	return fullName(u.FirstName, u.LastName)
}

// Fields returns what authmod.UserFields has room for.
func (u WorkOSUser) Fields() authmod.UserFields {
	email, verified := u.Email()
	return authmod.UserFields{Email: email, EmailVerified: verified, Name: u.Name(), Image: u.ProfilePictureURL}
}

func fullName(first, last string) string { return strings.TrimSpace(first + " " + last) }

// verifiedEmail is what a user of type U says to be its verified address; "" where there is none, or it is no address.
func verifiedEmail[U interface{ Email() (string, bool) }](data json.RawMessage) (string, error) {
	var u U
	if err := json.Unmarshal(data, &u); err != nil {
		return "", bad("data", "type", "is not a user as the sender documents it")
	}
	if email, verified := u.Email(); verified && authmod.ValidEmail(email) {
		return email, nil
	}
	return "", nil
}
