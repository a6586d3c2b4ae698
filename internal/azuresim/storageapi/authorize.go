package storageapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Need is what a request must be allowed to do.
type Need struct {
	// ResourceType is 's', 'c' or 'o' as in an account SAS.
	ResourceType byte
	// Permissions are those of a SAS of which one is enough, e.g. "cw".
	Permissions string
	// Container (or queue) and Blob are what is accessed; a service SAS is for one.
	Container, Blob string
	// Write is whether a reader's role is not enough.
	Write bool
	// AccountOnly refuses every service SAS, e.g. for creating containers.
	AccountOnly bool
}

func authenticationFailed(detail string, args ...any) *Error {
	e := Errorf(http.StatusForbidden, "AuthenticationFailed",
		"Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature.")
	e.Detail = Errorf(0, "", detail, args...).Message
	return e
}

func permissionMismatch() *Error {
	return Errorf(http.StatusForbidden, "AuthorizationPermissionMismatch", "This request is not authorized to perform this operation using this permission.")
}

func (s *Service) authorize(c *Call, need Need) error {
	scheme, value, _ := strings.Cut(c.Header("Authorization"), " ")
	switch {
	case scheme == "SharedKey":
		return s.sharedKey(c, value)
	case scheme == "Bearer":
		return s.bearer(c, value, need)
	case scheme != "":
		return Errorf(http.StatusBadRequest, "InvalidAuthenticationInfo", "Authentication scheme %s is not supported.", scheme)
	case c.Query.Has("sig"):
		return s.signature(c, need)
	}
	e := Errorf(http.StatusUnauthorized, "NoAuthenticationInformation",
		"Server failed to authenticate the request. Please refer to the information in the www-authenticate header.")
	e.Header = challenge()
	return e
}

func challenge() http.Header {
	return http.Header{"Www-Authenticate": {"Bearer authorization_uri=https://login.microsoftonline.com/common/oauth2/authorize resource_id=https://storage.azure.com"}}
}

func (s *Service) bearer(c *Call, token string, need Need) error {
	if c.TLS == nil {
		return authenticationFailed("Authentication scheme Bearer requires a secure transport.")
	}
	if s.verify == nil {
		return authenticationFailed("Bearer tokens are not accepted.")
	}
	if err := s.verify(token); err != nil {
		e := Errorf(http.StatusUnauthorized, "InvalidAuthenticationInfo", "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.")
		e.Detail, e.Header = err.Error(), challenge()
		return e
	}
	if role := Role(s.role.Load()); role == RoleNone || (need.Write && role < RoleContributor) {
		return permissionMismatch()
	}
	return nil
}

// sharedKey checks a signature over the request
// (learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key).
func (s *Service) sharedKey(c *Call, value string) error {
	account, given, ok := strings.Cut(value, ":")
	if !ok {
		return Errorf(http.StatusBadRequest, "InvalidAuthenticationInfo",
			"Authentication information is not given in the correct format. Check the value of Authorization header.")
	}
	if account != c.Account {
		return authenticationFailed("The account name %q of the signature is not that of the request.", account)
	}
	// The service sorts header names as words; many clients sort their bytes. The
	// two differ only for names with dashes inside a common beginning.
	var text string
	for _, compare := range []func(a, b string) int{compareWords, strings.Compare} {
		text = stringToSign(c, compare)
		if s.signed(c.Account, text, given) {
			return nil
		}
	}
	return authenticationFailed("The MAC signature found in the HTTP request '%s' is not the same as any computed signature. Server used following string to sign: '%s'.", given, text)
}

func compareWords(a, b string) int {
	return strings.Compare(strings.ReplaceAll(a, "-", ""), strings.ReplaceAll(b, "-", ""))
}

func stringToSign(c *Call, compare func(a, b string) int) string {
	var b strings.Builder
	b.WriteString(c.Method)
	date := c.Header("Date")
	if c.Header("x-ms-date") != "" {
		date = ""
	}
	length := c.Header("Content-Length")
	if c.ContentLength > 0 { // net/http moves it out of the header
		length = itoa(c.ContentLength)
	}
	if length == "0" {
		length = ""
	}
	for _, value := range []string{
		c.Header("Content-Encoding"), c.Header("Content-Language"), length, c.Header("Content-MD5"), c.Header("Content-Type"), date,
		c.Header("If-Modified-Since"), c.Header("If-Match"), c.Header("If-None-Match"), c.Header("If-Unmodified-Since"), c.Header("Range"),
	} {
		b.WriteByte('\n')
		b.WriteString(value)
	}
	b.WriteByte('\n')
	var names []string
	for name := range c.Request.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-ms-") {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, compare)
	for _, name := range names {
		b.WriteString(name + ":" + strings.TrimSpace(strings.Join(c.Request.Header.Values(name), ",")) + "\n")
	}
	b.WriteString("/" + c.Account)
	if path := c.URL.EscapedPath(); path != "" {
		b.WriteString(path)
	} else {
		b.WriteByte('/')
	}
	parameters := map[string][]string{}
	for name, values := range c.Query {
		name = strings.ToLower(name)
		parameters[name] = append(parameters[name], values...)
	}
	names = names[:0]
	for name := range parameters {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		slices.Sort(parameters[name])
		b.WriteString("\n" + name + ":" + strings.Join(parameters[name], ","))
	}
	return b.String()
}

func (s *Service) sign(account, text string) string {
	mac := hmac.New(sha256.New, s.keys[account])
	mac.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func (s *Service) signed(account, text, given string) bool {
	return hmac.Equal([]byte(s.sign(account, text)), []byte(given))
}

// Versions from which on a line was added to what is signed
// (learn.microsoft.com/rest/api/storageservices/create-account-sas, -create-service-sas).
const (
	sasWithScope    = "2020-12-06" // encryption scope
	sasWithSnapshot = "2018-11-09" // resource and snapshot time of blobs
)

// signature checks a shared access signature.
func (s *Service) signature(c *Call, need Need) error {
	q := c.Query
	if q.Get("skoid") != "" {
		return NotImplemented("user delegation signatures")
	}
	if q.Get("si") != "" {
		return NotImplemented("stored access policies")
	}
	account := q.Has("ss")
	var text string
	if account {
		lines := []string{c.Account, q.Get("sp"), q.Get("ss"), q.Get("srt"), q.Get("st"), q.Get("se"), q.Get("sip"), q.Get("spr"), q.Get("sv")}
		if q.Get("sv") >= sasWithScope {
			lines = append(lines, q.Get("ses"))
		}
		text = strings.Join(lines, "\n") + "\n"
	} else {
		text = s.serviceText(c, need)
	}
	if !s.signed(c.Account, text, q.Get("sig")) {
		return authenticationFailed("Signature did not match. String to sign used was %s", text)
	}
	if err := s.timeFrame(q); err != nil {
		return err
	}
	if err := protocolAndAddress(c); err != nil {
		return err
	}
	switch {
	case account && !strings.ContainsRune(q.Get("ss"), rune(s.kind[0])):
		return Errorf(http.StatusForbidden, "AuthorizationServiceMismatch", "This request is not authorized to perform this operation using this service.")
	case account && !strings.ContainsRune(q.Get("srt"), rune(need.ResourceType)), !account && need.AccountOnly, !account && q.Get("sr") == "b" && need.Blob == "":
		return Errorf(http.StatusForbidden, "AuthorizationResourceTypeMismatch", "This request is not authorized to perform this operation using this resource type.")
	case !strings.ContainsAny(q.Get("sp"), need.Permissions):
		return permissionMismatch()
	}
	return nil
}

// serviceText is what the signature for one container, blob or queue is over.
func (s *Service) serviceText(c *Call, need Need) string {
	q := c.Query
	resource := "/" + string(s.kind) + "/" + c.Account + "/" + need.Container
	if s.kind == Blob && q.Get("sr") == "b" {
		resource += "/" + need.Blob
	}
	lines := []string{q.Get("sp"), q.Get("st"), q.Get("se"), resource, q.Get("si"), q.Get("sip"), q.Get("spr"), q.Get("sv")}
	if s.kind == Blob {
		if q.Get("sv") >= sasWithSnapshot {
			lines = append(lines, q.Get("sr"), "")
		}
		if q.Get("sv") >= sasWithScope {
			lines = append(lines, q.Get("ses"))
		}
		lines = append(lines, q.Get("rscc"), q.Get("rscd"), q.Get("rsce"), q.Get("rscl"), q.Get("rsct"))
	}
	return strings.Join(lines, "\n")
}

func (s *Service) timeFrame(q url.Values) error {
	now := s.now().UTC()
	start, okStart := sasTime(q.Get("st"))
	end, okEnd := sasTime(q.Get("se"))
	if !okEnd || (q.Get("st") != "" && !okStart) {
		return authenticationFailed("The start or the expiry of the signature is not a time.")
	}
	if now.After(end) || now.Before(start) {
		return authenticationFailed("Signature not valid in the specified time frame: Start [%s] - Expiry [%s] - Current [%s]",
			start.Format(http.TimeFormat), end.Format(http.TimeFormat), now.Format(http.TimeFormat))
	}
	return nil
}

func sasTime(text string) (time.Time, bool) {
	for _, layout := range []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), true
		}
	}
	return time.Time{}, false
}

func protocolAndAddress(c *Call) error {
	if c.Query.Get("spr") == "https" && c.TLS == nil {
		return Errorf(http.StatusForbidden, "AuthorizationProtocolMismatch", "This request is not authorized to perform this operation using this protocol.")
	}
	allowed := c.Query.Get("sip")
	if allowed == "" {
		return nil
	}
	host, _, _ := net.SplitHostPort(c.RemoteAddr)
	from, to, isRange := strings.Cut(allowed, "-")
	if !isRange {
		to = from
	}
	low, err1 := netip.ParseAddr(from)
	high, err2 := netip.ParseAddr(to)
	address, err3 := netip.ParseAddr(host)
	if err1 != nil || err2 != nil || err3 != nil || address.Less(low) || high.Less(address) {
		return Errorf(http.StatusForbidden, "AuthorizationSourceIPMismatch", "This request is not authorized to perform this operation using this source IP %s.", host)
	}
	return nil
}

// AccountSignature returns the query string of an account SAS for services such
// as "bq" and permissions such as "rl", over http and https, until expiry. key is
// the account's, in Base64.
func AccountSignature(account, key, services, permissions string, expiry time.Time) (string, error) {
	bits, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return "", err
	}
	const types, protocols = "sco", "https,http"
	end := expiry.UTC().Format("2006-01-02T15:04:05Z")
	s := Service{keys: map[string][]byte{account: bits}}
	text := strings.Join([]string{account, permissions, services, types, "", end, "", protocols, sasWithScope, ""}, "\n") + "\n"
	return url.Values{
		"sv": {sasWithScope}, "ss": {services}, "srt": {types}, "sp": {permissions}, "se": {end}, "spr": {protocols}, "sig": {s.sign(account, text)},
	}.Encode(), nil
}
