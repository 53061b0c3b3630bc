package triggers

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mimosadb/mimosa/engine"
)

// Error says which trigger failed, and by which way it came to run. It is what a write, or Tx.Nested, returns for it. To a
// client it looks like the error inside: an *engine.Error keeps its code and text. Where the error inside is an
// *engine.LimitError, it is of code too_large and its message names the chain.
type Error struct {
	// Trigger is the trigger's name, such as "users.OnCreate(enroll)".
	Trigger string
	// Document is the id of the document whose change it ran for.
	Document string
	// Chain are the names of the triggers that led to one another: first one of a write of the function, last Trigger.
	Chain []string
	// Err is what the trigger returned, an *engine.PanicError, or the *engine.LimitError of a cascade that is too deep.
	Err error
}

// errWrites is what a write gets that is made inside a Before trigger.
var errWrites = errors.New("a Before trigger cannot write")

func (l *link) failed(ch *engine.Change, err error) error {
	chain := l.chain()
	// What a Nested inside a trigger returns names this trigger already.
	if e, ok := err.(*Error); ok && len(e.Chain) >= len(chain) && slices.Equal(e.Chain[:len(chain)], chain) { //nolint:errorlint // only the outermost
		return e
	}
	return &Error{Trigger: l.name, Document: ch.ID, Chain: chain, Err: err}
}

func (e *Error) Error() string {
	return fmt.Sprintf("triggers: %s: %v", arrows(e.Chain), e.Err)
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// As lets errors.As find an *engine.Error where there is none but a limit was exceeded: which chain did it is what the reader
// needs to know.
func (e *Error) As(target any) bool {
	found, ok := target.(**engine.Error)
	if !ok {
		return false
	}
	var coded *engine.Error
	var limit *engine.LimitError
	if errors.As(e.Err, &coded) || !errors.As(e.Err, &limit) {
		return false
	}
	*found = engine.Errorf(engine.CodeTooLarge, "%w", e).With(map[string]any{"limit": limit.Limit, "max": limit.Max})
	return true
}

// shownNames is how many names of a chain an error spells out, half of them from each end.
const shownNames = 40

func arrows(chain []string) string {
	if left := len(chain) - shownNames; left > 0 {
		chain = slices.Concat(chain[:shownNames/2], []string{fmt.Sprintf("… %d more …", left)}, chain[len(chain)-shownNames/2:])
	}
	return strings.Join(chain, " → ")
}
