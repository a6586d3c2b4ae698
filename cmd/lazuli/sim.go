package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
	"github.com/lazuli-logs/lazuli/internal/telemetry"
)

type simCommand struct {
	Listen      string   `default:"127.0.0.1" placeholder:"HOST" help:"Address that clients connect to (${default})."`
	Ports       string   `placeholder:"FILE" help:"Also write the endpoints to this file, once everything listens."`
	AMQPPort    int      `name:"amqp-port" placeholder:"PORT" help:"Port of AMQP without TLS; any free one by default."`
	AMQPSPort   int      `name:"amqps-port" placeholder:"PORT" help:"Port of AMQP over TLS."`
	Kafka       bool     `help:"Serve Event Hubs' Kafka endpoint too; it keeps the events a second time."`
	KafkaPort   int      `placeholder:"PORT" help:"Port of Kafka."`
	HTTPSPort   int      `name:"https-port" placeholder:"PORT" help:"Port of Entra and of AMQP over WebSockets."`
	ControlPort int      `placeholder:"PORT" help:"Port of the control surface, always on 127.0.0.1."`
	BlobPort    int      `placeholder:"PORT" help:"Port of Blob Storage without TLS."`
	QueuePort   int      `placeholder:"PORT" help:"Port of Queue Storage without TLS."`
	CA          string   `placeholder:"FILE" help:"Where the root certificate is written."`
	Data        string   `placeholder:"DIR" help:"Keep the hubs in this folder over a restart; in memory by default."`
	Seed        uint64   `default:"1" placeholder:"N" help:"Decides the tenant and all its records (${default})."`
	Hub         []string `placeholder:"NAME" help:"Name of an event hub; may be repeated (insights)."`
	Partitions  int      `default:"4" placeholder:"N" help:"Partitions of each hub (${default})."`
	Retain      int64    `placeholder:"BYTES" help:"How much a hub keeps; 256 MiB by default, negative keeps everything."`
	Records     int      `placeholder:"N" help:"Records in each message, up to 200; varied by default."`
	Door        []string `sep:"none" placeholder:"CATEGORY=DOOR" help:"By which doors records leave, e.g. FlowLogFlowEvent=storage or *=event_hubs,storage; may be repeated. Doors: event_hubs, storage, log_analytics, graph. Event hubs alone by default, without flow logs."`
	Events      uint64   `placeholder:"N" help:"Produce this many records at the start."`
	Rate        int      `placeholder:"N" help:"Produce so many records a second, for ever; or pace --events."`
}

// Help is shown by lazuli sim --help.
func (simCommand) Help() string {
	return `Speaks Entra's token endpoint, Event Hubs' AMQP 1.0 (plain, TLS, WebSockets), Blob and Queue Storage, Log Analytics and Microsoft Graph to unmodified clients, and makes up the logs of a tenant. The first line on standard output is one JSON object with every endpoint, connection string and credential. Stops at SIGINT. docs/sim.md describes them and the control surface, which causes faults.

Example:
  lazuli sim --events 100000 > sim.json &
  jq -r .connection_string sim.json`
}

// Run implements the command.
func (s *simCommand) Run(ctx context.Context, t terminal) error {
	logger := telemetry.NewLogger(t.err, "info", "auto")
	options := azuresim.Options{
		Seed: s.Seed, Host: s.Listen, CAFile: s.CA, DataDir: s.Data,
		Ports: azuresim.Ports{
			AMQP: s.AMQPPort, AMQPS: s.AMQPSPort, Kafka: s.KafkaPort, HTTPS: s.HTTPSPort, Control: s.ControlPort, Blob: s.BlobPort, Queue: s.QueuePort,
		},
		Storage: azuresim.StorageOptions{NoticeQueue: "blob-created", Keep: 3 * time.Hour},
		Kafka:   s.Kafka || s.KafkaPort != 0,
		Hubs:    s.Hub, Partitions: s.Partitions, RetainBytes: s.Retain, RecordsPerMessage: s.Records, Logger: logger,
	}
	if len(s.Door) > 0 {
		doors, err := azuresim.ParseDoors(s.Door)
		if err != nil {
			return &usageError{fmt.Errorf("lazuli: --door: %w", err)}
		}
		options.Doors = doors
	}
	if s.Events == 0 {
		options.Rate = s.Rate
	}
	sim, err := azuresim.Start(ctx, options)
	if err != nil {
		return err
	}
	defer sim.Close()
	endpoints, err := json.Marshal(sim.Endpoints)
	if err != nil {
		return err
	}
	if s.Ports != "" {
		if err := writeWhole(s.Ports, append(endpoints, '\n')); err != nil {
			return fmt.Errorf("write the endpoints: %w", err)
		}
	}
	if _, err := fmt.Fprintf(t.out, "%s\n", endpoints); err != nil {
		return err
	}
	if s.Events > 0 {
		start := time.Now()
		n, err := sim.Produce(ctx, s.Events, s.Rate)
		if err != nil && ctx.Err() == nil {
			return err
		}
		logger.Info("produced", "records", n, "seconds", time.Since(start).Seconds())
	}
	<-ctx.Done()
	return sim.Close()
}

// writeWhole makes the file appear with all its content: others wait for it.
func writeWhole(path string, data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(path), ".endpoints-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	if _, err := temp.Write(data); err != nil {
		temp.Close()
		return err
	}
	if err := temp.Close(); err != nil {
		return err
	}
	return os.Rename(temp.Name(), path)
}
