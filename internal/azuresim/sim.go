package azuresim

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/archive"
	"github.com/lazuli-logs/lazuli/internal/azuresim/blobs"
	"github.com/lazuli-logs/lazuli/internal/azuresim/ca"
	"github.com/lazuli-logs/lazuli/internal/azuresim/entra"
	"github.com/lazuli-logs/lazuli/internal/azuresim/eventhubs"
	"github.com/lazuli-logs/lazuli/internal/azuresim/graph"
	"github.com/lazuli-logs/lazuli/internal/azuresim/ingestion"
	"github.com/lazuli-logs/lazuli/internal/azuresim/kafka"
	"github.com/lazuli-logs/lazuli/internal/azuresim/ledger"
	"github.com/lazuli-logs/lazuli/internal/azuresim/logs"
	"github.com/lazuli-logs/lazuli/internal/azuresim/queues"
	"github.com/lazuli-logs/lazuli/internal/azuresim/recordid"
	"github.com/lazuli-logs/lazuli/internal/azuresim/tenant"
)

const (
	// Hub is the name of the hub where Options.Hubs names none.
	Hub = "insights"
	// ConsumerGroup is what hubs have besides "$Default" where
	// Options.ConsumerGroups names none.
	ConsumerGroup = "lazuli"
	// Policy is the name of the shared access policy.
	Policy = "RootManageSharedAccessKey"

	// eventHubsAudience is the resource that tokens for Event Hubs are issued for
	// (learn.microsoft.com/azure/event-hubs/authenticate-application).
	eventHubsAudience = "https://eventhubs.azure.net"
	defaultRetain     = 256 << 20
	defaultPrepared   = 4096
	headerTimeout     = 30 * time.Second
)

// Options of a simulator. The zero value is usable.
type Options struct {
	// Seed decides the tenant, its records, and all names and keys.
	Seed uint64
	// Host is the address that clients connect to; empty: 127.0.0.1. The control
	// surface is on 127.0.0.1 always.
	Host  string
	Ports Ports
	// CAFile is where the root certificate is written. Empty: "ca.pem" in DataDir,
	// or in a folder of its own, which Close removes.
	CAFile string
	// DataDir keeps the hubs' events and the numbers of the records over a
	// restart. Empty: memory only.
	DataDir string

	Hubs           []string // empty: Hub
	Partitions     int      // of each hub; zero: 4
	ConsumerGroups []string // besides "$Default"; empty: ConsumerGroup
	// RetainBytes is how much a hub keeps, over all its partitions: what is older
	// is gone, as after Azure's retention time, whether it was read or not. Zero:
	// 256 MiB. Negative: everything, for tests that count.
	RetainBytes int64

	// RecordsPerMessage is fixed where it is above zero (200 at the most), else it
	// varies.
	RecordsPerMessage int
	// Rate lets the simulator produce by itself, this many records a second, from
	// Start to Close. Zero: only what Produce is called for.
	Rate int
	// Prepared is how many scenes are made in advance (tenant.Options.Prepared).
	// Zero: 4096. Negative: none, every scene is made anew.
	Prepared int

	// Punctual lets no record come late (tenant.Options.Punctual).
	Punctual bool

	// Kafka opens the Kafka endpoint too. It keeps the hubs' events a second time.
	Kafka bool

	// Doors says by which doors the records of a category leave; a record may
	// leave by several. Nil: all by EventHubs.
	Doors func(category string) []Door

	// Graph is what the tenant lets the application ask Microsoft Graph.
	Graph GraphOptions
	// Logs is about the Log Analytics workspace.
	Logs LogsOptions
	// Storage is the storage account.
	Storage StorageOptions

	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: none
}

// Ports fixes ports; zero is any free one.
type Ports struct{ AMQP, AMQPS, Kafka, HTTPS, Control, Blob, BlobTLS, Queue, QueueTLS int }

func (o Options) withDefaults() Options {
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if len(o.Hubs) == 0 {
		o.Hubs = []string{Hub}
	}
	if len(o.ConsumerGroups) == 0 {
		o.ConsumerGroups = []string{ConsumerGroup}
	}
	if o.Partitions == 0 {
		o.Partitions = 4
	}
	if o.RetainBytes == 0 {
		o.RetainBytes = defaultRetain
	}
	if o.Prepared == 0 {
		o.Prepared = defaultPrepared
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Endpoints is all that a client needs to know. It marshals to one line.
type Endpoints struct {
	Namespace string `json:"namespace"`       // what the broker calls itself
	AMQP      string `json:"amqp"`            // host:port, without TLS
	AMQPS     string `json:"amqps"`           // host:port
	Kafka     string `json:"kafka,omitempty"` // host:port, with TLS
	HTTPS     string `json:"https"`           // URL of Entra and of AMQP over WebSockets
	Control   string `json:"control"`         // URL
	// ConnectionString is for the endpoint without TLS, which clients use because
	// of UseDevelopmentEmulator. No connection string names a hub.
	ConnectionString string `json:"connection_string"`
	// TLSConnectionString is for the endpoint with TLS, by its address. The
	// current Go client takes the port for a part of the certificate's name: it
	// needs TLSConfig.ServerName set, or the next one.
	TLSConnectionString string `json:"tls_connection_string"`
	// NamespaceConnectionString looks as Azure's does. The client is to connect to
	// AMQPS all the same, by a custom endpoint or a redirected name resolution.
	NamespaceConnectionString string `json:"namespace_connection_string"`

	CAFile         string             `json:"ca_file"` // PEM
	AuthorityHost  string             `json:"authority_host"`
	Graph          string             `json:"graph"`     // URL of Microsoft Graph, without a version
	Logs           string             `json:"logs"`      // URL of the Log Analytics query API, without a version
	Workspace      string             `json:"workspace"` // id of the workspace
	Storage        StorageEndpoints   `json:"storage"`
	Ingestion      IngestionEndpoints `json:"ingestion"`
	TenantID       string             `json:"tenant_id"`
	ClientID       string             `json:"client_id"`
	ClientSecret   string             `json:"client_secret"`
	Hubs           []string           `json:"hubs"`
	Partitions     int                `json:"partitions"`
	ConsumerGroups []string           `json:"consumer_groups"`
	Seed           uint64             `json:"seed"`
}

// Sim is a running simulator. Its methods are safe for concurrent use.
type Sim struct {
	// Endpoints do not change.
	Endpoints Endpoints
	// Ledger knows what was produced; note there what arrived.
	Ledger *ledger.Ledger
	// Broker and Entra are for faults and for looking inside.
	Broker *eventhubs.Broker
	Entra  *entra.Server
	Graph  *graph.Server
	Logs   *logs.Server
	Blobs  *blobs.Server
	Queues *queues.Server
	// Ingestion is the Logs Ingestion API, with the rows it has taken.
	Ingestion *ingestion.Server

	archive *archive.Writer
	CA      *ca.Authority

	options Options
	log     *slog.Logger

	producing sync.Mutex // guards what follows, and keeps numbers in order
	generator *tenant.Generator
	journal   *journal // nil without a DataDir
	block     []byte   // the messages produced last stand in it, one after the other
	turn      int      // counts messages
	doors     map[Door]receiver
	kafka     *kafka.Endpoint // nil: not wanted

	stop       context.CancelFunc
	background sync.WaitGroup // production by itself
	running    sync.WaitGroup // servers
	closing    sync.Once
	closed     error
	closers    []func() error // in the order of the start
}

// Start starts a simulator, which runs until ctx ends or Close is called. On an
// error nothing is left running.
func Start(ctx context.Context, options Options) (*Sim, error) {
	s := &Sim{options: options.withDefaults(), Ledger: ledger.New(options.Seed)}
	s.doors = map[Door]receiver{EventHubs: hubDoor{s}}
	s.log = s.options.Logger
	lifetime, stop := context.WithCancel(ctx)
	s.stop = stop
	if err := s.start(lifetime); err != nil {
		return nil, errors.Join(fmt.Errorf("start the simulator: %w", err), s.Close())
	}
	context.AfterFunc(lifetime, func() {
		if err := s.Close(); err != nil {
			s.log.Warn("simulator closed with an error", "error", err)
		}
	})
	return s, nil
}

func (s *Sim) start(ctx context.Context) error {
	if n := s.options.RecordsPerMessage; n < 0 || n > tenant.MaxRecords {
		return fmt.Errorf("%d records per message: there may be 1 to %d, or 0 for varied counts", n, tenant.MaxRecords)
	}
	if s.options.Rate < 0 {
		return fmt.Errorf("a rate of %d records a second: it must not be negative", s.options.Rate)
	}
	if err := s.makeTenant(); err != nil {
		return err
	}
	if err := s.makeAuthority(); err != nil {
		return err
	}
	if err := s.makeEntra(); err != nil {
		return err
	}
	s.makeGraph()
	s.makeLogs()
	if err := s.makeStorage(); err != nil {
		return err
	}
	s.makeIngestion()
	if err := s.makeHubs(); err != nil {
		return err
	}
	if err := s.serve(ctx); err != nil {
		return err
	}
	s.background.Go(func() { s.growStorage(ctx) })
	if s.options.Rate > 0 {
		s.background.Go(func() {
			if _, err := s.Produce(ctx, 0, s.options.Rate); err != nil {
				s.log.Error("production ended", "error", err)
			}
		})
	}
	return nil
}

// Close stops everything and waits for its end. What DataDir holds stays. It may
// be called more than once.
func (s *Sim) Close() error {
	s.closing.Do(func() {
		s.stop()
		s.background.Wait()
		var errs []error
		for _, closer := range slices.Backward(s.closers) {
			errs = append(errs, closer())
		}
		s.running.Wait()
		s.closed = errors.Join(errs...)
	})
	return s.closed
}

func (s *Sim) makeTenant() error {
	first := uint64(0)
	if s.options.DataDir != "" {
		if err := os.MkdirAll(s.options.DataDir, 0o750); err != nil {
			return fmt.Errorf("make the data folder: %w", err)
		}
		var err error
		if s.journal, err = openJournal(filepath.Join(s.options.DataDir, "produced"), s.Ledger); err != nil {
			return err
		}
		s.closers = append(s.closers, func() error {
			s.producing.Lock()
			defer s.producing.Unlock()
			return s.journal.close()
		})
		first = s.journal.next
	}
	s.generator = tenant.New(s.options.Seed, tenant.Options{
		Now: s.options.Now, Punctual: s.options.Punctual, First: first, Prepared: max(s.options.Prepared, 0), RecordsPerMessage: s.options.RecordsPerMessage,
		Flows: s.flows(),
	})
	return nil
}

func (s *Sim) makeAuthority() (err error) {
	if s.CA, err = ca.New(s.options.Now); err != nil {
		return err
	}
	path := s.options.CAFile
	switch {
	case path != "":
	case s.options.DataDir != "":
		path = filepath.Join(s.options.DataDir, "ca.pem")
	default:
		folder, err := os.MkdirTemp("", "azuresim-")
		if err != nil {
			return fmt.Errorf("make a folder for the root certificate: %w", err)
		}
		s.closers = append(s.closers, func() error { return os.RemoveAll(folder) })
		path = filepath.Join(folder, "ca.pem")
	}
	if path, err = filepath.Abs(path); err != nil {
		return fmt.Errorf("root certificate: %w", err)
	}
	s.Endpoints.CAFile = path
	return s.CA.WriteFile(path)
}

func (s *Sim) makeEntra() (err error) {
	ids := recordid.New(s.options.Seed)
	secret := s.key("client secret")
	s.Endpoints.TenantID = s.generator.TenantID()
	s.Endpoints.ClientID = string(ids.AppendOther(nil, recordid.Mix(^s.options.Seed)))
	s.Endpoints.ClientSecret = secret
	s.Entra, err = entra.New(entra.Options{Now: s.options.Now, Apps: []entra.App{{
		TenantID: s.Endpoints.TenantID, ClientID: s.Endpoints.ClientID, Secrets: []entra.Secret{{Value: secret}}, Roles: s.options.Graph.roles(),
	}}})
	return err
}

func (s *Sim) makeHubs() (err error) {
	folder := ""
	if s.options.DataDir != "" {
		folder = filepath.Join(s.options.DataDir, "hubs")
	}
	s.Endpoints.Namespace = "kestrel.servicebus.windows.net"
	s.Broker, err = eventhubs.New(eventhubs.Options{
		Namespace: s.Endpoints.Namespace,
		Keys:      map[string]string{Policy: s.key("shared access key")},
		// The broker names what the client wants to reach; Azure issues all tokens
		// for Event Hubs for one audience.
		VerifyToken: func(token, _ string) error { return s.Entra.Verify(token, eventHubsAudience) },
		Now:         s.options.Now,
		Logger:      s.log,
		DataDir:     folder,
	})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, s.Broker.Close)
	for _, name := range s.options.Hubs {
		if hub, exists := s.Broker.Hub(name); exists {
			if hub.Partitions() != s.options.Partitions {
				return fmt.Errorf("hub %q in the data folder has %d partitions, not %d: give its number or another folder",
					name, hub.Partitions(), s.options.Partitions)
			}
			continue
		}
		if err := s.createHub(name); err != nil {
			return err
		}
	}
	s.Endpoints.Hubs, s.Endpoints.Partitions = s.options.Hubs, s.options.Partitions
	s.Endpoints.ConsumerGroups = append([]string{eventhubs.DefaultConsumerGroup}, s.options.ConsumerGroups...)
	s.Endpoints.Seed = s.options.Seed
	return nil
}

func (s *Sim) createHub(name string) error {
	_, err := s.Broker.CreateHub(name, s.options.Partitions, eventhubs.HubOptions{
		ConsumerGroups: s.options.ConsumerGroups,
		RetainBytes:    max(s.options.RetainBytes, 0) / int64(s.options.Partitions),
	})
	return err
}

// RecreateHub deletes a hub with its events and makes it anew, so that its
// sequence numbers begin again. The ledger still counts the events as produced.
func (s *Sim) RecreateHub(name string) error {
	s.producing.Lock()
	defer s.producing.Unlock()
	if err := s.Broker.DeleteHub(name); err != nil {
		return err
	}
	if s.kafka != nil {
		if err := s.kafka.Remove(name); err != nil {
			return err
		}
	}
	if err := s.createHub(name); err != nil {
		return err
	}
	return s.addTopic(name)
}

// serve opens the listeners and serves them.
func (s *Sim) serve(ctx context.Context) error {
	config, err := s.CA.ServerConfig(append(ca.AzureNames(), s.options.Host)...)
	if err != nil {
		return err
	}
	amqp, err := s.listen(ctx, s.options.Host, s.options.Ports.AMQP)
	if err != nil {
		return err
	}
	amqps, err := s.listen(ctx, s.options.Host, s.options.Ports.AMQPS)
	if err != nil {
		return err
	}
	https, err := s.listen(ctx, s.options.Host, s.options.Ports.HTTPS)
	if err != nil {
		return err
	}
	control, err := s.listen(ctx, "127.0.0.1", s.options.Ports.Control)
	if err != nil {
		return err
	}
	e := &s.Endpoints
	e.AMQP, e.AMQPS = amqp.Addr().String(), amqps.Addr().String()
	e.HTTPS, e.Control = "https://"+https.Addr().String(), "http://"+control.Addr().String()
	e.AuthorityHost, e.Graph, e.Logs = e.HTTPS+"/", e.HTTPS, e.HTTPS
	e.Ingestion.Endpoint = e.HTTPS
	e.ConnectionString = s.Broker.EmulatorConnectionString(e.AMQP, Policy, "")
	const form = "Endpoint=sb://%s/;SharedAccessKeyName=%s;SharedAccessKey=%s"
	e.TLSConnectionString = fmt.Sprintf(form, e.AMQPS, Policy, s.key("shared access key"))
	e.NamespaceConnectionString = fmt.Sprintf(form, e.Namespace, Policy, s.key("shared access key"))

	s.running.Go(func() { s.report("AMQP", s.Broker.ServeAMQP(amqp)) })
	s.running.Go(func() { s.report("AMQP over TLS", s.Broker.ServeAMQP(tls.NewListener(amqps, config))) })
	if err := s.serveKafka(ctx, config); err != nil {
		return err
	}
	azure := http.NewServeMux()
	azure.Handle("/", s.Entra)
	azure.Handle(eventhubs.WebSocketPath, s.Broker)
	azure.Handle("/v1/workspaces/", s.Logs)
	azure.Handle("/v1.0/", s.Graph)
	azure.Handle("/beta/", s.Graph)
	azure.Handle(ingestion.Path, s.Ingestion)
	s.serveHTTP("HTTPS", tls.NewListener(https, config), azure)
	if err := s.serveStorage(ctx, config); err != nil {
		return err
	}
	s.serveHTTP("control", control, s.control())
	return nil
}

func (s *Sim) listen(ctx context.Context, host string, port int) (net.Listener, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	// It may be closed already, by what serves it.
	s.closers = append(s.closers, func() error { _ = listener.Close(); return nil })
	return listener, nil
}

func (s *Sim) serveHTTP(name string, listener net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: headerTimeout, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)}
	s.closers = append(s.closers, server.Close)
	s.running.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.report(name, err)
		}
	})
}

// report logs the end of a server that nobody wanted.
func (s *Sim) report(name string, err error) {
	if err != nil && !errors.Is(err, eventhubs.ErrClosed) {
		s.log.Error("endpoint ended", "endpoint", name, "error", err)
	}
}

// key returns what Azure would have drawn by lot: 256 bits in Base64. It follows
// from the seed, so that it is the same after a restart.
func (s *Sim) key(name string) string {
	var bits [32]byte
	x := s.options.Seed
	for i := range name {
		x = recordid.Mix(x ^ uint64(name[i]))
	}
	for i := 0; i < len(bits); i += 8 {
		x = recordid.Mix(x)
		binary.BigEndian.PutUint64(bits[i:], x)
	}
	return base64.StdEncoding.EncodeToString(bits[:])
}
