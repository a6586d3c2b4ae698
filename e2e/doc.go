// Package e2e runs the real binary against the built-in Azure: what a user
// would see, and what must hold when the program is killed.
package e2e
