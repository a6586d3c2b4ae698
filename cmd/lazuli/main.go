// Lazuli collects the security logs of Azure tenants and delivers them,
// normalized, to the systems a security team uses.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit statuses; other programs depend on them.
const (
	exitFailed = 1 // it failed while working
	exitUsage  = 2 // wrong usage or a wrong configuration
)

// commands is the command line: one struct for each command, in its own file.
type commands struct {
	Demo      demoCommand      `cmd:"" help:"Run Lazuli on a built-in Azure: no account needed."`
	Run       runCommand       `cmd:"" help:"Collect, normalize and deliver."`
	Check     checkCommand     `cmd:"" help:"Read a configuration and report every mistake."`
	Normalize normalizeCommand `cmd:"" help:"Normalize files or standard input to NDJSON."`
	Backfill  backfillCommand  `cmd:"" help:"Read a range of time again, beside the collector."`
	Replay    replayCommand    `cmd:"" help:"Send dead letters again."`
	Sim       simCommand       `cmd:"" help:"Run the built-in Azure alone, for other programs."`
	Config    configCommand    `cmd:"" help:"Print the configuration's schema or a commented example."`
	Version   versionCommand   `cmd:"" help:"Print the version."`
}

// terminal is where a command reads and writes: data to out, all else to err.
type terminal struct {
	in       io.Reader
	out, err io.Writer
}

func main() {
	ctx, stop := untilSignal()
	defer stop()
	os.Exit(run(ctx, os.Args[1:], terminal{os.Stdin, os.Stdout, os.Stderr}))
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, t terminal) int {
	var cli commands
	status := -1 // set where kong itself ends the program: help
	parser, err := kong.New(&cli,
		kong.Name("lazuli"),
		kong.Description("Collects the security logs of Azure tenants and delivers them, normalized. Start with: lazuli demo"),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Writers(t.out, t.err),
		kong.Exit(func(code int) { status = code }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(t),
	)
	if err != nil {
		panic(err) // the structs above are wrong
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if status >= 0 {
		return status
	}
	if err != nil {
		fmt.Fprintf(t.err, "lazuli: %v\nTry: lazuli --help\n", err)
		return exitUsage
	}
	if err := command.Run(); err != nil {
		var usage *usageError
		if errors.As(err, &usage) {
			fmt.Fprintln(t.err, usage.Error())
			return exitUsage
		}
		if !errors.Is(err, errReported) {
			fmt.Fprintf(t.err, "lazuli: %v\n", err)
		}
		return exitFailed
	}
	return 0
}

// usageError is a wrong command line or configuration.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// errReported ends a command that has already said why it failed.
var errReported = errors.New("reported")

// untilSignal returns a context that ends at the first SIGINT or SIGTERM, so
// that the program drains. A second signal ends the program at once.
func untilSignal() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		fmt.Fprintln(os.Stderr, "lazuli: stopping; again to stop at once (what is unconfirmed will be read again)")
		cancel()
		<-signals
		os.Exit(exitFailed)
	}()
	return ctx, cancel
}
