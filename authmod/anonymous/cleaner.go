package anonymous

import (
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
)

const (
	fnClean     = "auth:deleteAnonymous"
	fnAbandoned = "auth:abandonedAnonymous"
	fnDelete    = "auth:deleteAnonymousUser"

	// cleanSpec has the job run every hour, not on the hour, when programs have enough to do.
	cleanSpec = "23 * * * *"
	// pageSize is how many accounts are looked at in one query.
	pageSize = 100
)

// cleaner deletes temporary users whom nobody can come back as.
type cleaner struct {
	host      *authmod.Host
	maxAge    time.Duration
	temporary *engine.Index[authmod.Account]
	abandoned engine.QueryRef[abandonedArgs, abandoned]
	delete    engine.MutationRef[deleteArgs, struct{}]
}

type (
	abandonedArgs struct {
		Cursor *string `json:"cursor"`
	}
	// abandoned is a page of users who look abandoned.
	abandoned struct {
		Users  []string `json:"users"`
		Cursor string   `json:"cursor"`
		Done   bool     `json:"done"`
	}
	deleteArgs struct {
		User string `json:"user"`
	}
)

func newCleaner(h *authmod.Host, maxAge time.Duration) *cleaner {
	c := &cleaner{host: h, maxAge: maxAge}
	c.temporary = h.Accounts().AddIndex("temporary", "temporary")
	c.abandoned = engine.Query(h.Schema(), fnAbandoned, c.page, engine.Internal())
	c.delete = engine.Mutation(h.Schema(), fnDelete, func(tx *engine.Tx, in deleteArgs) (struct{}, error) {
		return struct{}{}, c.deleteUser(tx, in.User)
	}, engine.Internal())
	engine.Action(h.Schema(), fnClean, c.clean, engine.Internal()).Cron("auth:anonymous", cleanSpec, struct{}{})
	return c
}

// clean is one run of the job. It looks at all temporary users that are old enough, oldest first: sessions of many of them may
// go on.
func (c *cleaner) clean(ctx *engine.ActionCtx, _ struct{}) (struct{}, error) {
	for cursor := (*string)(nil); ; {
		page, err := c.abandoned.Run(ctx, abandonedArgs{cursor})
		if err != nil {
			return struct{}{}, err
		}
		for _, user := range page.Users {
			if err := ctx.Context().Err(); err != nil {
				return struct{}{}, err
			}
			if _, err := c.delete.Run(ctx, deleteArgs{user}); err != nil {
				// One that a trigger does not let go keeps the others from nothing.
				ctx.DB().Options().Logger.Warn("authmod/anonymous: a temporary user was not deleted", "user", user, "error", err)
			}
		}
		if page.Done {
			return struct{}{}, nil
		}
		cursor = &page.Cursor
	}
}

func (c *cleaner) page(r *engine.ReadTx, in abandonedArgs) (abandoned, error) {
	page, err := c.temporary.Eq(r, true).Paginate(engine.PageArgs{NumItems: pageSize, Cursor: in.Cursor})
	if err != nil {
		return abandoned{}, err
	}
	out := abandoned{Users: []string{}, Cursor: page.ContinueCursor, Done: page.IsDone}
	for _, d := range page.Items {
		if d.Created.After(r.Now().Add(-c.maxAge)) { // so are all that follow
			out.Done = true
			break
		}
		if over, err := c.over(r, d.Value.User); err != nil {
			return abandoned{}, err
		} else if over {
			out.Users = append(out.Users, d.Value.User)
		}
	}
	return out, nil
}

// over says whether somebody is a temporary user still, and cannot come back.
func (c *cleaner) over(r engine.Reader, user string) (bool, error) {
	account, err := temporary(c.host, r, user)
	if err != nil || account == nil {
		return false, err
	}
	signedIn, err := c.host.SignedIn(r, user)
	return !signedIn, err
}

func (c *cleaner) deleteUser(tx *engine.Tx, user string) error {
	over, err := c.over(tx, user)
	if err != nil || !over {
		return err
	}
	return c.host.DeleteUser(tx, user)
}
