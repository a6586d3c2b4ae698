// Package telemetry sets up logging and holds the one list of metric names.
// Every metric is described in docs/spec/telemetry.md.
package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
)

// Metrics is every metric of the program. Labels are bounded: names from the
// configuration, and the fixed classes written beside each metric. Its fields
// may be used concurrently.
type Metrics struct {
	Registry *prometheus.Registry

	SourceReceivedBytes    *prometheus.CounterVec // source
	SourceReceivedPayloads *prometheus.CounterVec // source
	SourceRecords          *prometheus.CounterVec // source, log_type
	SourceLagEvents        *prometheus.GaugeVec   // source, partition
	SourceLagSeconds       *prometheus.GaugeVec   // source, partition
	SourceReconnects       *prometheus.CounterVec // source
	SourceRebuilds         *prometheus.CounterVec // source: links rebuilt by the watchdog
	SourceGaps             *prometheus.CounterVec // source: positions that Azure no longer held
	SourceMissing          *prometheus.CounterVec // source: events lost to retention, by sequence number
	SourceOwned            *prometheus.GaugeVec   // source: partitions this instance reads
	SourceAnswers          *prometheus.CounterVec // source, outcome: ok, too_much, throttled, refused, failed
	SourceRepeats          *prometheus.CounterVec // source: rows that came again and were dropped
	SourceRequests         *prometheus.CounterVec // source, operation: a dozen words
	SourceBlobs            *prometheus.GaugeVec   // source, state: known, pending
	SourceGenerations      *prometheus.CounterVec // source: blobs replaced by others of their names
	SourceUnreadable       *prometheus.CounterVec // source, cause: deleted, archived, damaged

	DecodeBad      *prometheus.CounterVec // source, class
	DecodeRepaired *prometheus.CounterVec // source, repair

	RouteEvents    *prometheus.CounterVec // route, outcome: taken, dropped, sampled_out, error
	SourceUnrouted *prometheus.CounterVec // source: events that no route took and none dropped

	CheckpointSaves         *prometheus.CounterVec // source
	CheckpointSaveErrors    *prometheus.CounterVec // source
	CheckpointOldestPending *prometheus.GaugeVec   // source: age of the oldest batch not yet confirmed

	SinkEvents         *prometheus.CounterVec // sink: confirmed
	SinkBytes          *prometheus.CounterVec // sink: confirmed
	SinkRejected       *prometheus.CounterVec // sink: sent to the dead letters
	SinkDropped        *prometheus.CounterVec // sink: best-effort events given up
	SinkTruncated      *prometheus.CounterVec // sink: values longer than the destination holds
	SinkEarly          *prometheus.CounterVec // sink: batches sent before they were full or due, to make room
	SinkSpilled        *prometheus.CounterVec // sink: dead-lettered because the sink stayed down
	SinkRetries        *prometheus.CounterVec // sink, class: throttled, partial, error
	SinkQueuedEvents   *prometheus.GaugeVec   // sink
	SinkDeliverSeconds *prometheus.HistogramVec

	DeadLetters        *prometheus.CounterVec // class
	InFlightBytes      prometheus.GaugeFunc
	InFlightLimitBytes prometheus.GaugeFunc
}

// NewMetrics registers everything in a new registry. inFlight and limit are
// read whenever the metrics are.
func NewMetrics(inFlight, limit func() float64) *Metrics {
	m := &Metrics{Registry: prometheus.NewRegistry()}
	m.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "lazuli", Name: name, Help: help}, labels)
		m.Registry.MustRegister(v)
		return v
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "lazuli", Name: name, Help: help}, labels)
		m.Registry.MustRegister(v)
		return v
	}
	m.SourceReceivedBytes = counter("source_received_bytes_total", "Bytes taken from Azure.", "source")
	m.SourceReceivedPayloads = counter("source_received_payloads_total", "Messages, blob parts or rows taken from Azure.", "source")
	m.SourceRecords = counter("source_records_total", "Records found in the payloads.", "source", "log_type")
	m.SourceLagEvents = gauge("source_lag_events", "Events that wait in Azure, by sequence number.", "source", "partition")
	m.SourceLagSeconds = gauge("source_lag_seconds", "Age of the newest event taken, when Azure holds newer ones; else 0.", "source", "partition")
	m.SourceReconnects = counter("source_reconnects_total", "Times a link or connection was opened anew.", "source")
	m.SourceRebuilds = counter("source_watchdog_rebuilds_total", "Links that made no progress while Azure held new events, rebuilt.", "source")
	m.SourceGaps = counter("source_gaps_total", "Times the stored position was no longer held by Azure.", "source")
	m.SourceMissing = counter("source_missing_events_total", "Events that left Azure's retention before they were read.", "source")
	m.SourceAnswers = counter("source_answers_total", "Requests to a query API, by how they ended.", "source", "outcome")
	m.SourceRepeats = counter("source_repeats_total", "Rows of a query that were read before and dropped.", "source")
	m.SourceOwned = gauge("source_owned_partitions", "Partitions this instance reads.", "source")
	m.SourceRequests = counter("source_requests_total", "Requests to Azure.", "source", "operation")
	m.SourceBlobs = gauge("source_blobs", "Blobs that are kept in mind because they may still grow, and those of them that wait to be read or confirmed.", "source", "state")
	m.SourceGenerations = counter("source_generations_total", "Blobs that were replaced by others of their names, and read from their start.", "source")
	m.SourceUnreadable = counter("source_unreadable_blobs_total", "Blobs that could not be read to their end.", "source", "cause")
	m.DecodeBad = counter("decode_bad_total", "Pieces of payloads that could not be read, sent to the dead letters.", "source", "class")
	m.DecodeRepaired = counter("decode_repaired_total", "Records whose JSON was repaired.", "source", "repair")
	m.RouteEvents = counter("route_events_total", "Events that a route with a condition or a rule took, dropped or left out.", "route", "outcome")
	m.SourceUnrouted = counter("source_unrouted_events_total", "Events whose condition no route met.", "source")
	m.CheckpointSaves = counter("checkpoint_saves_total", "Checkpoints written.", "source")
	m.CheckpointSaveErrors = counter("checkpoint_save_errors_total", "Checkpoint writes that failed; they are tried again.", "source")
	m.CheckpointOldestPending = gauge("checkpoint_oldest_pending_seconds", "Age of the oldest batch that is not confirmed by every required sink.", "source")
	m.SinkEvents = counter("sink_delivered_events_total", "Events the destination confirmed.", "sink")
	m.SinkBytes = counter("sink_delivered_bytes_total", "Bytes of the events the destination confirmed.", "sink")
	m.SinkRejected = counter("sink_rejected_events_total", "Events the destination rejected for good, sent to the dead letters.", "sink")
	m.SinkDropped = counter("sink_dropped_events_total", "Events a best-effort sink gave up.", "sink")
	m.SinkTruncated = counter("sink_truncated_fields_total", "Values cut because they were longer than the destination holds.", "sink")
	m.SinkSpilled = counter("sink_spilled_events_total", "Events sent to the dead letters because the sink stayed down longer than spill_after.", "sink")
	m.SinkEarly = counter("sink_early_batches_total", "Batches sent before they were full or due, because sources waited for room.", "sink")
	m.SinkRetries = counter("sink_retries_total", "Deliveries that have to be tried again.", "sink", "class")
	m.SinkQueuedEvents = gauge("sink_queued_events", "Events that wait for the sink.", "sink")
	m.SinkDeliverSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "lazuli", Name: "sink_deliver_seconds", Help: "Duration of one delivery.",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
	}, []string{"sink"})
	m.Registry.MustRegister(m.SinkDeliverSeconds)
	m.DeadLetters = counter("dead_letters_total", "Dead letters stored.", "class")
	m.InFlightBytes = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "lazuli", Name: "pipeline_in_flight_bytes", Help: "Bytes between the sources and the last confirmation.",
	}, inFlight)
	m.InFlightLimitBytes = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "lazuli", Name: "pipeline_in_flight_limit_bytes", Help: "Bytes that may be in flight before sources wait.",
	}, limit)
	m.Registry.MustRegister(m.InFlightBytes, m.InFlightLimitBytes)
	return m
}

// Sum adds up a counter or gauge over all its labels. It is for reports and
// progress lines, not for hot paths.
func Sum(c prometheus.Collector) float64 {
	values := make(chan prometheus.Metric)
	go func() {
		c.Collect(values)
		close(values)
	}()
	total := 0.0
	for v := range values {
		var m dto.Metric
		if v.Write(&m) == nil {
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return total
}
