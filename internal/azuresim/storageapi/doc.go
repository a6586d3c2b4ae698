// Package storageapi is what the simulated services of a storage account have in
// common: addressing in both of Azure's styles, authorization by shared key,
// shared access signature and bearer token, error bodies, counts of requests,
// and faults.
//
// Invariant: no operation runs that its request was not authorized for. The
// package must not know what the operations do.
package storageapi
