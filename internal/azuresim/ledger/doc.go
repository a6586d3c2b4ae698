// Package ledger says what became of the records that the simulated tenant
// produced: which were delivered, lost, delivered twice, or never existed.
//
// It keeps one bit for a record produced and one for a record seen, and none
// for a run of 65,536 records that is complete. It recognizes records by their
// ids alone (package recordid) and must not know how records or outputs look,
// so that it cannot share a mistake with what it checks.
package ledger
