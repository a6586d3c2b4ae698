// Package azuresim is the built-in Azure: a tenant that does not exist, with
// the services through which its logs are collected, on loopback. Official
// clients talk to it unmodified. It assembles the parts in the folders below:
//
//	tenant     what happens, as log records
//	eventhubs  the Event Hubs namespace that the records go to (AMQP)
//	kafka      the same hubs over Kafka, to read
//	entra      the token endpoint
//	logs       the query API of a Log Analytics workspace
//	graph      Microsoft Graph's logs, risks, alerts and incidents
//	blobs      Blob Storage
//	queues     Queue Storage
//	archive    how logs get into blobs and grow there
//	storageapi what the two have in common: addresses, authorization, faults
//	ledger     what was produced against what arrived
//	ca         the certificate authority of its TLS endpoints
//
// Invariant: every record that Produce reports is in a hub and in the ledger,
// under an id that is never used again, not even after a kill (with a DataDir).
//
// Neither this package nor those below import the product, so that the two
// cannot share a mistake.
package azuresim
