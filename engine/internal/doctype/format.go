package doctype

import (
	"bytes"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// A formatFunc reports whether a text has a format. Texts come with their escapes resolved.
type formatFunc func(text []byte) bool

// formats are those that the tag format= may name; each is asserted.
var formats = map[string]formatFunc{
	"email":         isEmail,
	"uri":           isURI,
	"uri-reference": isURIReference,
	"uuid":          isUUID,
	"date":          isDate,
	"time":          isTime,
	"date-time":     func(b []byte) bool { _, ok := parseTime(b); return ok },
	"hostname":      isHostname,
	"ipv4":          func(b []byte) bool { a, err := netip.ParseAddr(string(b)); return err == nil && a.Is4() },
	"ipv6": func(b []byte) bool {
		a, err := netip.ParseAddr(string(b))
		return err == nil && a.Is6() && a.Zone() == ""
	},
	"regex":        func(b []byte) bool { _, err := regexp.Compile(string(b)); return err == nil },
	"json-pointer": isJSONPointer,
}

// msgFormat has the message of each format.
var msgFormat = map[string]string{
	"email":         "must be an e-mail address",
	"uri":           "must be an absolute URI",
	"uri-reference": "must be a URI or a reference relative to one",
	"uuid":          "must be a UUID",
	"date":          "must be a date like 2006-01-02",
	"time":          "must be a time of day with an offset like 15:04:05Z",
	"date-time":     "must be a time like 2006-01-02T15:04:05Z",
	"hostname":      "must be a host name",
	"ipv4":          "must be an IPv4 address",
	"ipv6":          "must be an IPv6 address",
	"regex":         "must be a regular expression",
	"json-pointer":  "must be a JSON pointer",
}

// parseTime reads an RFC 3339 time whose year, in UTC, has four digits.
func parseTime(text []byte) (time.Time, bool) {
	if !timeLayout(text) {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339, view(text))
	if err != nil {
		return time.Time{}, false
	}
	t = t.UTC()
	return t, t.Year() >= 0 && t.Year() <= 9999
}

// timeLayout refuses what package time lets pass beside RFC 3339: hours of one digit, a comma before the fraction, offsets
// beyond a day.
func timeLayout(b []byte) bool {
	if len(b) < len("2006-01-02T15:04:05Z") || b[10] != 'T' || b[13] != ':' || b[16] != ':' || b[19] == ',' {
		return false
	}
	if b[len(b)-1] == 'Z' {
		return true
	}
	offset := b[len(b)-len("+00:00"):]
	return (offset[0] == '+' || offset[0] == '-') && string(offset[1:3]) <= "23" && string(offset[4:]) <= "59"
}

func isDate(b []byte) bool {
	_, err := time.Parse(time.DateOnly, view(b))
	return err == nil && len(b) == len(time.DateOnly)
}

func isTime(b []byte) bool {
	_, ok := parseTime(append([]byte("2000-01-01T"), b...))
	return ok
}

// isEmail accepts what sign-up forms should: an unquoted local part, and a host name with a dot in it (RFC 5321, 4.1.2 and
// 4.5.3.1, without quoted strings and address literals). Letters beyond ASCII are allowed (RFC 6531).
func isEmail(b []byte) bool {
	at := bytes.LastIndexByte(b, '@')
	if at < 1 || at > 64 || len(b) > 254 {
		return false
	}
	local, domain := b[:at], b[at+1:]
	if local[0] == '.' || local[at-1] == '.' || bytes.Contains(local, []byte("..")) {
		return false
	}
	for _, c := range local {
		if !isAlnum(c) && c < 0x80 && !strings.ContainsRune(".!#$%&'*+/=?^_`{|}~-", rune(c)) {
			return false
		}
	}
	return bytes.IndexByte(domain, '.') > 0 && isHost(domain, true)
}

func isHostname(b []byte) bool { return isHost(b, false) }

// isHost checks labels after RFC 1123, 2.1.
func isHost(b []byte, beyondASCII bool) bool {
	if len(b) == 0 || len(b) > 253 {
		return false
	}
	for label := range bytes.SplitSeq(b, []byte(".")) {
		if len(label) == 0 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range label {
			if !isAlnum(c) && c != '-' && (c < 0x80 || !beyondASCII) {
				return false
			}
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// isURI accepts an absolute URI (RFC 3986): a scheme, then something, in ASCII.
func isURI(b []byte) bool {
	u, err := url.Parse(string(b))
	return err == nil && u.IsAbs() && len(b) > len(u.Scheme)+1 && isURIText(b)
}

func isURIReference(b []byte) bool {
	_, err := url.Parse(string(b))
	return err == nil && isURIText(b)
}

// isURIText refuses the characters that RFC 3986 gives no place, which url.Parse lets pass.
func isURIText(b []byte) bool {
	for _, c := range b {
		if c <= 0x20 || c >= 0x7F || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			return false
		}
	}
	return true
}

func isUUID(b []byte) bool {
	if len(b) != 36 {
		return false
	}
	for i, c := range b {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if _, ok := hexDigit(c); !ok {
			return false
		}
	}
	return true
}

// isJSONPointer follows RFC 6901.
func isJSONPointer(b []byte) bool {
	if len(b) > 0 && b[0] != '/' {
		return false
	}
	for i, c := range b {
		if c == '~' && (i+1 == len(b) || b[i+1] != '0' && b[i+1] != '1') {
			return false
		}
	}
	return true
}
