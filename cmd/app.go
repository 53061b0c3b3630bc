package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	_ "time/tzdata" // the zones of crons, on machines that have none

	"github.com/spf13/cobra"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/subscriptions"
)

// App is what a program is made of. Only Schema is needed.
type App struct {
	// Name is what the program calls itself in help and messages; the name of its executable by default.
	Name string
	// About is one line for the help.
	About string
	// Version is what the command version prints; by default the version that Go has recorded in the executable.
	Version string

	// Schema holds the program's collections, functions and triggers.
	Schema *engine.Schema
	// Auth is the schema's sign-in. Without one nobody can sign in.
	Auth *authmod.Auth
	// Seed fills a new database. It runs once in the life of a data folder, at its first start, in one transaction: when it
	// fails nothing of it is kept, the program ends, and it runs again at the next start. Like every mutation it may be rerun.
	Seed func(tx *engine.Tx) error

	// Static is the program's page, served at /. Files and folders whose names begin with a dot are not served, and folders
	// are not listed.
	Static fs.FS
	// ContentSecurityPolicy is sent with Static. By default a page may load what comes from its own address, and nothing
	// else.
	ContentSecurityPolicy string
	// Routes adds the program's own handlers, for webhooks and the like. Patterns under /api/ are taken.
	Routes func(mux *http.ServeMux, db *engine.DB)

	// Database are the options of the database. Dir comes from the flag --data; Logger, unless set, writes to standard error.
	Database engine.Options
	// Server are the options of the calls and live queries. Authenticator comes from Auth, and the flags --allow-origin and
	// --trust-proxy add to AllowedOrigins and TrustedProxies. Handlers of Routes, too, see the address of a client that comes
	// through a trusted proxy as the request's RemoteAddr, with port 0.
	Server subscriptions.Options
}

// The statuses with which a program ends.
const (
	exitOK        = 0
	exitFailed    = 1
	exitUsage     = 2
	exitInterrupt = 130 // as shells report a program that Ctrl-C ended
)

// Main runs the command line that the process was started with and ends the process. It handles Ctrl-C and SIGTERM.
func Main(a App) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		_, _ = fmt.Fprintf(os.Stderr, "%s: shutting down; press Ctrl-C again to stop at once\n", a.name())
		cancel()
		<-signals
		os.Exit(exitInterrupt)
	}()
	os.Exit(Run(ctx, a, os.Args[1:], os.Stdout, os.Stderr))
}

// Run runs one command line, without the name of the program, and returns the status to end with. When ctx ends, serve shuts
// down in order and the status is 0. It does not touch the process's signals, so it serves programs with a main of their own,
// and tests. It may be called again when it has returned, with the same App too.
func Run(ctx context.Context, a App, args []string, stdout, stderr io.Writer) int {
	p := &program{App: a, stdout: stdout, stderr: stderr}
	root := p.command()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var failed *failure
	if errors.As(err, &failed) && !errors.As(err, new(misuse)) {
		p.say("%v", failed)
		return exitFailed
	}
	// What does not come from a command comes from cobra, or from a look at its flags: the command line is wrong.
	p.say("%s; see %s --help", oneLine(err), p.name())
	return exitUsage
}

// program is one run of an App.
type program struct {
	App
	stdout, stderr io.Writer

	addr    string
	metrics string
	data    string
	origins []string
	proxies []string       // as given
	trusted []netip.Prefix // as read by checkProxies
	dev     bool

	// Of the commands that look after data.
	out, outDir, since   string
	collection, existing string
	force                bool
	loading              engine.ImportOptions
}

func (a App) name() string {
	if a.Name != "" {
		return a.Name
	}
	return strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
}

// say writes one line to the person who started the program.
func (p *program) say(format string, args ...any) {
	_, _ = fmt.Fprintf(p.stderr, "%s: %s\n", p.name(), fmt.Sprintf(format, args...)) // there is nobody else to tell
}

const (
	defaultAddr = "localhost:8787"
	defaultData = "./mimosa-data"
)

// command builds the command line. The flags of serve stand on the root as well, since serve is what it does by default.
func (p *program) command() *cobra.Command {
	about := p.About
	if about == "" {
		about = "A program built on Mimosa, the reactive document database."
	}
	root := &cobra.Command{
		Use: p.name(), Short: about, Long: about + "\n\nWithout a command it serves the application.",
		Args: cobra.NoArgs, RunE: p.failing(p.serve),
		SilenceUsage: true, SilenceErrors: true,
	}
	serve := &cobra.Command{
		Use: "serve", Short: "Serve the application (the default)",
		Args: cobra.NoArgs, RunE: p.failing(p.serve),
	}
	for _, c := range []*cobra.Command{root, serve} {
		f := c.Flags()
		f.StringVar(&p.addr, "addr", defaultAddr, `address to listen on; ":8787" listens on all addresses of this machine`)
		f.StringVar(&p.data, "data", defaultData, "folder that holds the data")
		f.StringSliceVar(&p.origins, "allow-origin", nil, `further web origin whose pages may connect, such as "https://app.example.com"`)
		f.StringSliceVar(&p.proxies, "trust-proxy", nil, `address or network of a proxy whose X-Forwarded-For is believed, such as "10.0.0.0/8", "loopback" or "private"`)
		f.StringVar(&p.metrics, "metrics", "", `address at which Prometheus finds metrics, under /metrics, such as "localhost:9090"; none by default`)
		f.BoolVar(&p.dev, "dev", false, "send log lines of functions and texts of internal errors to clients")
	}
	check := &cobra.Command{
		Use: "check", Short: "Check the data folder, and list all that is wrong with it",
		Args: cobra.NoArgs, RunE: p.failing(p.check),
	}
	check.Flags().StringVar(&p.data, "data", defaultData, "folder that holds the data")
	version := &cobra.Command{
		Use: "version", Short: "Print the version",
		Args: cobra.NoArgs, RunE: p.failing(p.version),
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(serve, check, version)
	root.AddCommand(p.backupCommands()...)
	root.AddCommand(p.transferCommands()...)
	return root
}

// failing marks the errors of a command, which tells them from those of the command line.
func (p *program) failing(fn func(context.Context) error) func(*cobra.Command, []string) error {
	return p.failingWith(func(ctx context.Context, _ []string) error { return fn(ctx) })
}

// failingWith is failing for a command with arguments.
func (p *program) failingWith(fn func(context.Context, []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		if err := fn(c.Context(), args); err != nil {
			return &failure{err}
		}
		return nil
	}
}

// open opens the database in the folder of the flag. The error is a line for a person.
func (p *program) open() (*engine.DB, error) {
	if p.Schema == nil {
		return nil, errNoSchema
	}
	if err := p.checkData(); err != nil {
		return nil, err
	}
	db, err := engine.Open(p.Schema, p.databaseOptions())
	if err != nil {
		return nil, explainData(err, p.data)
	}
	return db, nil
}

var errNoSchema = errors.New("the program has no schema: App.Schema is nil")

// databaseOptions are those of App with what the flags say. The schema is complete when it has been called.
func (p *program) databaseOptions() engine.Options {
	if p.Seed != nil {
		declareSeeds(p.Schema)
	}
	o := p.Database
	o.Dir = p.data
	o.Development = o.Development || p.dev
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(p.stderr, nil))
	}
	return o
}
