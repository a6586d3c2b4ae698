// Package splunkhec delivers events to Splunk through the HTTP Event Collector.
//
// Without indexer acknowledgement, Deliver returns nil when the collector has
// taken the events: they are in a queue of the indexer's then. With it, Deliver
// returns nil when the indexer says that they are on its disk; until then the
// events are not confirmed, and are sent again if that does not come in time.
package splunkhec
