package engine_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// The lattice: what each package may import of this module, its tests aside. It is policy: a change that does not fit is a
// change of the architecture, to be decided and not worked round.
var lattice = map[string][]string{
	"clientjs":                       nil,
	"cmd":                            {"authmod", "clientjs", "engine", "engine/promengine", "engine/storage", "engine/storage/badgerstore", "subscriptions"},
	"cmd/mimosa":                     {"authmod", "authmod/password", "cmd", "engine", "triggers"},
	"authmod":                        {"engine", "triggers"},
	"authmod/password":               {"authmod", "engine"},
	"authmod/oauth":                  {"authmod", "engine"},
	"authmod/webhook":                {"authmod", "authmod/internal/fewlines", "engine"},
	"authmod/internal/fewlines":      nil,
	"authmod/anonymous":              {"authmod", "engine"},
	"authmod/examples":               nil,
	"authmod/examples/betterauth":    {"authmod", "authmod/jwt", "authmod/webhook", "cmd", "engine", "triggers"},
	"authmod/examples/clerk":         {"authmod", "authmod/jwt", "authmod/webhook", "cmd", "engine", "triggers"},
	"authmod/examples/github":        {"authmod", "authmod/oauth", "cmd", "engine", "triggers"},
	"authmod/examples/ownmodule":     {"authmod", "cmd", "engine", "triggers"},
	"authmod/examples/password":      {"authmod", "authmod/password", "cmd", "engine", "triggers"},
	"authmod/examples/workos":        {"authmod", "authmod/jwt", "authmod/webhook", "cmd", "engine", "triggers"},
	"authmod/emailcode":              {"authmod", "engine"},
	"authmod/jwt":                    {"authmod", "authmod/internal/fewlines", "engine"},
	"triggers":                       {"engine"},
	"subscriptions":                  {"engine", "engine/storage", "subscriptions/wire"},
	"subscriptions/wire":             nil,
	"engine":                         {"engine/internal/archive", "engine/internal/doctype", "engine/internal/interval", "engine/internal/keyenc", "engine/internal/versions", "engine/storage", "engine/storage/badgerstore"},
	"engine/enginetest":              {"engine", "engine/storage/memstore"},
	"engine/internal/archive":        nil,
	"engine/promengine":              {"engine"},
	"engine/internal/doctype":        {"engine/internal/keyenc"},
	"engine/internal/interval":       nil,
	"engine/internal/keyenc":         nil,
	"engine/internal/versions":       nil,
	"engine/storage":                 nil,
	"engine/storage/badgerstore":     {"engine/storage"},
	"engine/storage/memstore":        {"engine/storage"},
	"engine/storage/storagetest":     {"engine/storage"},
	"clientjs/test/convexauth/app":   {"authmod", "authmod/anonymous", "authmod/oauth", "authmod/password", "cmd", "engine", "triggers"},
	"clientjs/test/server/app":       {"authmod", "authmod/jwt", "authmod/password", "engine", "subscriptions", "triggers", "clientjs", "cmd"},
	"subscriptions/internal/history": nil,
	"bench":                          {"engine", "subscriptions", "triggers"},
	"scripts/gotest":                 nil,
}

// Modules that only some packages may import, tests included.
var confined = map[string][]string{
	"github.com/dgraph-io/badger/v4":           {"engine/storage/badgerstore"},
	"github.com/gorilla/websocket":             {"subscriptions", "bench", "cmd"},
	"golang.org/x/crypto":                      {"authmod"},
	"github.com/invopop/jsonschema":            {"engine"},
	"github.com/santhosh-tekuri/jsonschema/v6": {"engine/internal/doctype"},
	"github.com/tidwall/btree":                 {"engine", "engine/storage/memstore"},
	"github.com/prometheus/client_golang":      {"cmd", "engine/promengine"},
	"github.com/spf13/cobra":                   {"cmd"},
	"github.com/robfig/cron/v3":                {"engine"},
	"github.com/golang-jwt/jwt/v5":             {"authmod"},
	"github.com/coreos/go-oidc/v3":             {"authmod/oauth"},
	"golang.org/x/oauth2":                      {"authmod/oauth"},
	"github.com/go-jose/go-jose/v4":            {"authmod"},
}

type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func TestArchitecture(t *testing.T) {
	t.Parallel()
	const module = "github.com/mimosadb/mimosa/"
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		name := strings.TrimPrefix(p.ImportPath, module)
		allowed, known := lattice[name]
		if !known {
			t.Errorf("package %s has no place in the lattice", name)
			continue
		}
		for _, i := range p.Imports {
			if inner, ok := strings.CutPrefix(i, module); ok && !slices.Contains(allowed, inner) {
				t.Errorf("package %s imports %s, which the lattice does not allow", name, inner)
			}
		}
		for _, i := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			for mod, homes := range confined {
				if i != mod && !strings.HasPrefix(i, mod+"/") {
					continue
				}
				if !slices.ContainsFunc(homes, func(h string) bool { return name == h || strings.HasPrefix(name, h+"/") }) {
					t.Errorf("package %s imports %s, which belongs in %v alone", name, i, homes)
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("go list found %d packages only", seen)
	}
}
