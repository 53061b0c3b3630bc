package cmd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	"github.com/mimosadb/mimosa/engine"
)

// A data folder belongs to one process, so that the commands that look after data ask the one that serves it, over a socket in
// the folder. Who may connect is who may read and write the folder: the socket has the rights of its files.

// controlSocket is the socket's name. The longest path that systems take for one is about a hundred bytes.
const (
	controlSocket  = "mimosa.sock"
	maxControlPath = 100
)

// control serves a database to commands of other processes.
type control struct {
	server *http.Server
	ended  chan struct{}
	stop   context.CancelFunc
}

// startControl listens in the data folder, which this process has locked: a socket that is there is what a killed process
// left. It returns nil, and says why, where there can be none; serving goes on without.
func startControl(db *engine.DB, dir string) *control {
	logger := db.Options().Logger
	l, err := listenControl(dir)
	if err != nil {
		logger.Warn("backup, export, import and check of the running program are not possible", "error", err)
		return nil
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &control{ended: make(chan struct{}), stop: stop, server: &http.Server{
		Handler:     controlRoutes(&direct{db, dir}),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}}
	go func() {
		defer close(c.ended)
		if err := c.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			logger.Warn("commands of other processes are not served any more", "error", err)
		}
	}()
	return c
}

func listenControl(dir string) (net.Listener, error) {
	path := filepath.Join(dir, controlSocket)
	if len(path) > maxControlPath {
		return nil, fmt.Errorf("the path %s is too long for a socket", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// close ends what is running, and removes the socket.
func (c *control) close() {
	if c == nil {
		return
	}
	c.stop()
	_ = c.server.Close() // there is nothing to do about an error
	<-c.ended
}

// outcome is how a command ended. It comes after what the command gives out, since only then it is known.
type outcome struct {
	Error  string               `json:"error,omitempty"`
	Check  *checked             `json:"check,omitempty"`
	Backup *engine.BackupInfo   `json:"backup,omitempty"`
	Export *engine.ExportInfo   `json:"export,omitempty"`
	Import *engine.ImportResult `json:"import,omitempty"`
}

// outcomeTrailer carries the outcome behind a stream.
const outcomeTrailer = "Mimosa-Outcome"

func controlRoutes(d *direct) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /backup", func(w http.ResponseWriter, r *http.Request) {
		since, err := strconv.ParseUint(r.FormValue("since"), 10, 64)
		if err != nil {
			http.Error(w, "since is not a timestamp", http.StatusBadRequest)
			return
		}
		stream(w, func() (outcome, error) {
			info, err := d.backup(r.Context(), w, engine.Timestamp(since))
			return outcome{Backup: &info}, err
		})
	})
	mux.HandleFunc("POST /export", func(w http.ResponseWriter, r *http.Request) {
		stream(w, func() (outcome, error) {
			info, err := d.export(r.Context(), r.FormValue("collection"), w)
			return outcome{Export: &info}, err
		})
	})
	mux.HandleFunc("POST /import", func(w http.ResponseWriter, r *http.Request) {
		var o engine.ImportOptions
		q := r.URL.Query()
		if err := json.Unmarshal([]byte(q.Get("options")), &o); err != nil {
			http.Error(w, "options are not readable", http.StatusBadRequest)
			return
		}
		// The answer may come before the end of what is imported.
		_ = http.NewResponseController(w).EnableFullDuplex()
		result, err := d.load(r.Context(), q.Get("collection"), r.Body, o)
		answer(w, outcome{Import: &result}, err)
		_, _ = io.Copy(io.Discard, r.Body) // until the other side has read the answer and goes
	})
	mux.HandleFunc("POST /check", func(w http.ResponseWriter, r *http.Request) {
		found, err := d.check(r.Context())
		answer(w, outcome{Check: &found}, err)
	})
	return mux
}

// stream lets fn write the body, and puts its outcome behind.
func stream(w http.ResponseWriter, fn func() (outcome, error)) {
	w.Header().Set("Trailer", outcomeTrailer)
	w.Header().Set("Content-Type", "application/octet-stream")
	o, err := fn()
	w.Header().Set(outcomeTrailer, string(o.encode(err)))
}

func answer(w http.ResponseWriter, o outcome, err error) {
	raw := o.encode(err)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	_, _ = w.Write(raw) // who asked may have gone
	_ = http.NewResponseController(w).Flush()
}

func (o outcome) encode(err error) []byte {
	if err != nil {
		o.Error = err.Error()
	}
	raw, err := json.Marshal(o)
	if err != nil {
		raw = fmt.Appendf(nil, `{"error":%q}`, err.Error())
	}
	return raw
}
