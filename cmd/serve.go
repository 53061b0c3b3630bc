package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/subscriptions"
)

// grace is for how long running calls may go on when the program is told to end.
const grace = 10 * time.Second

// serve runs until ctx ends. It takes the port before the data folder: of two starts of the same program by mistake, the
// second is told about the port without waiting for the folder.
func (p *program) serve(ctx context.Context) (err error) {
	if err := errors.Join(p.checkAddr(), p.checkMetrics(), p.checkData(), p.checkOrigins(), p.checkProxies()); err != nil {
		return err
	}
	listener, err := listen(ctx, p.addr, "--addr")
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }() // the HTTP server has closed it by then, unless something below failed
	scrapes, err := p.listenMetrics(ctx)
	if err != nil {
		return err
	}
	if scrapes != nil {
		defer func() { _ = scrapes.Close() }() // as above
	}
	db, err := p.open()
	if err != nil {
		return err
	}
	defer func() {
		if closing := db.Close(); closing != nil {
			err = errors.Join(err, fmt.Errorf("closing the database: %w", closing))
		}
	}()
	if err := p.seed(ctx, db); err != nil {
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, storage.ErrFull): // opening takes less
			return explainFull(p.data)
		}
		return err
	}

	if p.Database.Store == nil {
		control := startControl(db, p.data)
		defer control.close()
	}
	calls := subscriptions.New(db, p.serverOptions())
	defer func() { _ = calls.Close() }() // is closed below; this is for what fails before
	routes, err := p.routes(db, calls)
	if err != nil {
		return err
	}
	logger := db.Options().Logger
	metrics := startMetrics(scrapes, db, logger)
	defer metrics.close()
	server := &http.Server{
		Handler:           fromClients(limitBodies(routes), p.trustedProxies()),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	if _, err := fmt.Fprintf(p.stdout, "listening on %s\n", address(p.addr, listener.Addr())); err != nil {
		logger.Warn("standard output is closed", "error", err)
	}

	var failed error
	select {
	case err := <-ended:
		return fmt.Errorf("serving %s: %w", p.addr, err)
	case <-db.Failed():
		failed = errors.New("a commit failed, see the log; start the program again to recover")
	case <-ctx.Done():
	}
	shutdown(server, calls, logger)
	<-ended
	return failed
}

// serverOptions leaves the Authenticator nil where there is no Auth: a nil *Auth in an interface would be one.
func (p *program) serverOptions() subscriptions.Options {
	o := p.Server
	if p.Auth != nil {
		o.Authenticator = p.Auth
	}
	o.TrustedProxies = p.trustedProxies()
	o.AllowedOrigins = append(o.AllowedOrigins[:len(o.AllowedOrigins):len(o.AllowedOrigins)], p.origins...)
	return o
}

// shutdown lets running calls come to their end, within the grace, while nothing new is taken in.
func shutdown(server *http.Server, calls *subscriptions.Server, logger *slog.Logger) {
	// The context that ended the program cannot bound its end.
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- server.Shutdown(ctx) }() // takes nothing in from here on; sockets are not its own any more
	if err := calls.Shutdown(ctx); err != nil {
		logger.Warn("calls were cut off", "after", grace)
	}
	if err := <-drained; err != nil {
		logger.Warn("requests were cut off", "after", grace)
		_ = server.Close() // closes what is left; there is nothing to do about an error
	}
}

// listen opens the port that a flag says. The error is a line for a person.
func listen(ctx context.Context, addr, flag string) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, explainListen(err, addr, flag)
	}
	return l, nil
}

// address is what to open in a browser: the host that was asked for, with the port that it became.
func address(asked string, got net.Addr) string {
	host, port, err := net.SplitHostPort(asked)
	if err != nil { // listen has split it
		return "http://" + got.String()
	}
	if tcp, ok := got.(*net.TCPAddr); ok {
		port = fmt.Sprint(tcp.Port)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}
