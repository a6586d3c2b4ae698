package blob

import (
	"io"
	"sync"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/compress/gzip"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/lazuli-logs/lazuli/internal/event"
)

// row is an event as Parquet holds it.
type row struct {
	ID       string `parquet:"id"`
	Time     *int64 `parquet:"time,optional,timestamp(microsecond)"` // in UTC
	LogType  string `parquet:"log_type,dict"`
	Schema   string `parquet:"schema,dict"`
	Source   string `parquet:"source,dict"`
	Tenant   string `parquet:"tenant,dict"`
	TenantID string `parquet:"tenant_id,dict"`
	Data     []byte `parquet:"data,json"`
}

// table writes Parquet files, one after the other, in the memory of the last.
type table struct {
	file *parquet.GenericWriter[row]
	// Rows are handed to the library some at a time.
	rows  [64]row
	times [64]int64
}

// newTables returns a pool of *table.
func newTables(compression string) *sync.Pool {
	// The levels are those of lines.
	var codec compress.Codec = &parquet.Uncompressed
	switch compression {
	case "zstd":
		codec = &zstd.Codec{Level: zstd.SpeedFastest}
	case "gzip":
		codec = &gzip.Codec{Level: gzip.BestSpeed}
	}
	return &sync.Pool{New: func() any {
		return &table{file: parquet.NewGenericWriter[row](nil,
			parquet.Compression(codec), parquet.CreatedBy("lazuli", "", ""),
			parquet.WriteBufferSize(0), // files are made in memory
			// The smallest and the largest of the documents say nothing, and would be
			// written whole.
			parquet.SkipPageBounds("data"), parquet.SkipPageStatistics("data"),
		)}
	}}
}

// write writes the file of a part. After an error the table is of no use.
func (t *table) write(to io.Writer, p *part, events []event.Event) error {
	t.file.Reset(to)
	for index := p.index; len(index) > 0; {
		n := min(len(t.rows), len(index))
		for k, i := range index[:n] {
			e := &events[i]
			origin := e.Origin
			if origin == nil {
				origin = &event.Origin{}
			}
			t.rows[k] = row{
				ID: string(e.ID), LogType: e.LogType, Schema: e.Schema,
				Source: origin.Source, Tenant: origin.Tenant, TenantID: origin.TenantID, Data: e.Data,
			}
			if !e.Time.IsZero() {
				t.times[k] = e.Time.UnixMicro()
				t.rows[k].Time = &t.times[k]
			}
		}
		if _, err := t.file.Write(t.rows[:n]); err != nil {
			return err
		}
		index = index[n:]
	}
	if err := t.file.Close(); err != nil {
		return err
	}
	clear(t.rows[:]) // lets go of the events
	// Reset would wipe out the names of the columns that the writer goes on using:
	// github.com/parquet-go/parquet-go/issues/602.
	for _, group := range t.file.File().Metadata().RowGroups {
		for i := range group.Columns {
			group.Columns[i].MetaData.PathInSchema = nil
		}
	}
	t.file.Reset(nil)
	return nil
}
