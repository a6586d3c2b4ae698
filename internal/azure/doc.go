// Package azure is the one home of what all doors and destinations in Azure
// share: the endpoints of each cloud, a tenant's credential and HTTP transport,
// and what a refused sign-in means for the operator.
//
// Everything is per tenant; nothing here is global. No secret ever leaves the
// package except in a request to the tenant's own authority. The package knows
// no source and no sink.
package azure
