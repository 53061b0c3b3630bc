package wire

import "strings"

// CanonicalPath returns the one name of a function that a client may spell in several ways: a module's ".js" is dropped and
// a module alone means its function "default", so "m.js:list" and "m:list" are one, and "m" is "m:default". Clients do this
// themselves for queries and leave mutations and actions as they were written. A path without a module or a function, or
// with control characters, gives an [*Error].
func CanonicalPath(path string) (string, error) {
	p, err := canonicalPath(path)
	if err != nil {
		return "", err
	}
	return p, nil
}

func canonicalPath(path string) (string, *Error) {
	module, function := path, "default"
	if i := strings.LastIndexByte(path, ':'); i >= 0 {
		module, function = path[:i], path[i+1:]
	}
	module = strings.TrimSuffix(module, ".js")
	bad := module == "" || function == "" || len(path) > maxPath
	for i := 0; i < len(path) && !bad; i++ {
		bad = path[i] < 0x20 || path[i] == 0x7f
	}
	if bad {
		return "", &Error{Reason: BadField, Detail: "must name a function as module:function"}
	}
	return module + ":" + function, nil
}

// LogLine returns what a function logged in the form that clients print: "[LOG] 'text'". Level is a word such as "LOG",
// "WARN" or "ERROR".
func LogLine(level, text string) string {
	return "[" + level + "] '" + strings.ReplaceAll(strings.ReplaceAll(text, `\`, `\\`), `'`, `\'`) + "'"
}
