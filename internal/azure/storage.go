package azure

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

var storageAccount = regexp.MustCompile(`^[a-z0-9]{3,24}$`)

// StorageEndpoint makes the URL of a service of a storage account, without a
// slash at its end, from the account's name or that URL.
func StorageEndpoint(account, suffix string) (string, error) {
	if storageAccount.MatchString(account) {
		return "https://" + account + "." + suffix, nil
	}
	u, err := url.Parse(account)
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return "", errors.New("it must be 3 to 24 lower-case letters and digits, or a URL without a query")
	}
	return strings.TrimSuffix(account, "/"), nil
}
