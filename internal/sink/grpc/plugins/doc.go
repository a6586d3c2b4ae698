// Package plugins is the contract of engines that take logs over gRPC, as
// plugins.proto says, and the code generated from it.
package plugins

//go:generate go run ../../../tools/protogen plugins.proto
