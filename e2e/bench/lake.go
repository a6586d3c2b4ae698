package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	parquetzstd "github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/lazuli-logs/lazuli/internal/azuresim/azuritetest"
	"github.com/lazuli-logs/lazuli/internal/config"
	"github.com/lazuli-logs/lazuli/internal/event"
	"github.com/lazuli-logs/lazuli/internal/sink/blob"
)

// row is what the sink's Parquet files have, here for the library alone.
type row struct {
	ID       string `parquet:"id"`
	Time     *int64 `parquet:"time,optional,timestamp(microsecond)"`
	LogType  string `parquet:"log_type,dict"`
	Schema   string `parquet:"schema,dict"`
	Source   string `parquet:"source,dict"`
	Tenant   string `parquet:"tenant,dict"`
	TenantID string `parquet:"tenant_id,dict"`
	Data     []byte `parquet:"data,json"`
}

// benchBlob measures against a client of Microsoft's that uploads the blobs that
// the sink made: lines are compressed as they are sent, Parquet is sent as it is,
// or with makes written by its library, from rows that are in memory.
func benchBlob(format, compression string, makes bool) func([]event.Event) (*contender, error) {
	return func(events []event.Event) (*contender, error) {
		h := newHole(http.StatusCreated, "", true)
		const lake = "lake"
		connection := strings.ReplaceAll(azuritetest.ConnectionString(h.server.Listener.Addr().String(), ""), "http://", "https://")
		dir, err := os.MkdirTemp("", "lazuli-bench-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		cfg := blob.DefaultConfig()
		cfg.CAFile = config.Path(filepath.Join(dir, "ca.pem"))
		if err := os.WriteFile(string(cfg.CAFile), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.server.Certificate().Raw}), 0o600); err != nil {
			return nil, err
		}
		cfg.ConnectionString, cfg.Container, cfg.Format, cfg.Compression = config.Secret(connection), lake, format, compression
		s, err := blob.New(*cfg, blob.Deps{Logger: slog.New(slog.DiscardHandler), Now: time.Now})
		if err != nil {
			return nil, err
		}
		transport, err := bareClient(h.trust())
		if err != nil {
			return nil, err
		}
		client, err := container.NewClientFromConnectionString(connection, lake, &container.ClientOptions{ClientOptions: policy.ClientOptions{Transport: transport}})
		if err != nil {
			return nil, err
		}
		batches := cut(events, cfg)
		recorded, err := h.record(s, batches)
		if err != nil {
			return nil, err
		}
		z, err := zstd.NewReader(nil)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		packs := format == "ndjson" && compression == "zstd"
		codec := &parquetzstd.Codec{Level: parquetzstd.SpeedFastest}
		rows := map[*request][]row{}
		for _, requests := range recorded {
			for _, r := range requests {
				_, r.url, _ = strings.Cut(r.url, "/"+lake+"/") // now the blob's name
				if packs {
					if r.body, err = z.DecodeAll(r.body, nil); err != nil {
						return nil, err
					}
				}
				if makes {
					if rows[r], err = parquet.Read[row](bytes.NewReader(r.body), int64(len(r.body))); err != nil {
						return nil, err
					}
				}
			}
		}
		zips := sync.Pool{New: func() any {
			w, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
			return w
		}}
		send := func(ctx context.Context, r *request) error {
			body := r.body
			if packs {
				w := zips.Get().(*zstd.Encoder)
				body = w.EncodeAll(body, make([]byte, 0, len(body)/4))
				zips.Put(w)
			}
			if makes {
				out := bytes.NewBuffer(make([]byte, 0, len(body)))
				w := parquet.NewGenericWriter[row](out, parquet.Compression(codec), parquet.SkipPageBounds("data"), parquet.SkipPageStatistics("data"))
				if _, err := w.Write(rows[r]); err != nil {
					return err
				}
				if err := w.Close(); err != nil {
					return err
				}
				body = out.Bytes()
			}
			_, err := client.NewBlockBlobClient(r.url).Upload(ctx, streaming.NopCloser(bytes.NewReader(body)), nil)
			return err
		}
		name := map[string]string{"ndjson": "NDJSON", "parquet": "Parquet"}[format]
		if makes {
			name += " made by both"
		}
		return &contender{
			name: fmt.Sprintf("`blob`, TLS, %s | %s", name, compression), sink: s, batches: batches,
			bare:  again(recorded, send),
			close: func() { _ = s.Close(context.Background()); h.server.Close() },
		}, nil
	}
}
