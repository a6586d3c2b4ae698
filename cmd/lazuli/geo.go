package main

import (
	"github.com/lazuli-logs/lazuli/internal/geo"
	"github.com/lazuli-logs/lazuli/internal/normalize"
)

// openLocator opens the databases of addresses that are named, if any. They stay
// open until the program ends.
func openLocator(city, asn string) (normalize.Locator, error) {
	if city == "" && asn == "" {
		return nil, nil
	}
	d, err := geo.Open(city, asn)
	if err != nil {
		return nil, &usageError{err}
	}
	return d, nil
}
