package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/mimosadb/mimosa/engine"
)

// remote is the keeper of a database that another process serves.
type remote struct{ client *http.Client }

// dialControl returns the keeper of the program that serves a data folder, nil when none answers.
func dialControl(ctx context.Context, dir string) *remote {
	path := filepath.Join(dir, controlSocket)
	dial := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	conn, err := dial(ctx)
	if err != nil {
		return nil // there is no socket, or nobody behind it
	}
	_ = conn.Close() // it was only a question
	return &remote{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
	}}}
}

// call asks for something, hands what comes back to w, where that is a stream, and returns how it ended.
func (r *remote) call(ctx context.Context, what string, q url.Values, body io.Reader, w io.Writer) (o outcome, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://mimosa/"+what+"?"+q.Encode(), body)
	if err != nil {
		return o, err
	}
	res, err := r.client.Do(req)
	if err != nil {
		return o, r.gone(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return o, fmt.Errorf("the running program answers %s: %s", res.Status, text)
	}
	var raw []byte
	if w != nil {
		if _, err := io.Copy(w, res.Body); err != nil {
			return o, r.gone(err)
		}
		raw = []byte(res.Trailer.Get(outcomeTrailer))
	} else if raw, err = io.ReadAll(res.Body); err != nil {
		return o, r.gone(err)
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return o, errBrokeOff
	}
	if o.Error != "" {
		return o, errors.New(o.Error)
	}
	return o, nil
}

// gone explains the error of a connection that ended. How the program was asked is nobody's business.
func (r *remote) gone(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.EPIPE, syscall.ECONNRESET, syscall.ECONNREFUSED} {
		if errors.Is(err, end) {
			return errBrokeOff
		}
	}
	return err
}

var (
	errBrokeOff = errors.New("the running program broke off")
	// errUnknownImport says that an import ended without its outcome.
	errUnknownImport = errors.New("how many of its lines were committed before is not known")
)

func (r *remote) backup(ctx context.Context, w io.Writer, since engine.Timestamp) (info engine.BackupInfo, err error) {
	o, err := r.call(ctx, "backup", url.Values{"since": {strconv.FormatUint(uint64(since), 10)}}, nil, w)
	if o.Backup != nil {
		info = *o.Backup
	}
	return info, err
}

func (r *remote) export(ctx context.Context, collection string, w io.Writer) (info engine.ExportInfo, err error) {
	o, err := r.call(ctx, "export", url.Values{"collection": {collection}}, nil, w)
	if o.Export != nil {
		info = *o.Export
	}
	return info, err
}

func (r *remote) load(ctx context.Context, collection string, from io.Reader, opts engine.ImportOptions) (result engine.ImportResult, err error) {
	raw, err := json.Marshal(opts)
	if err != nil {
		return result, err
	}
	o, err := r.call(ctx, "import", url.Values{"collection": {collection}, "options": {string(raw)}}, io.NopCloser(from), nil)
	switch {
	case o.Import != nil:
		result = *o.Import
	case err != nil && !opts.DryRun:
		err = fmt.Errorf("%w; %w", err, errUnknownImport)
	}
	return result, err
}

func (r *remote) check(ctx context.Context) (found checked, err error) {
	o, err := r.call(ctx, "check", nil, nil, nil)
	if o.Check != nil {
		found = *o.Check
	}
	return found, err
}

func (r *remote) close() error {
	r.client.CloseIdleConnections()
	return nil
}
