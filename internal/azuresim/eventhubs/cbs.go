package eventhubs

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/amqp"
)

// expiryCheck is how often links are checked for tokens that have expired.
const expiryCheck = time.Second

// token is a claim that a client put on its connection.
type token struct {
	rights  Rights
	expires time.Time
}

// answerText is the status of an answer of $cbs or $management.
type answerText struct {
	status      int32
	description string
	condition   amqp.Symbol // of an error that has one
}

func (b *Broker) refusal(status int32, condition amqp.Symbol, format string, args ...any) answerText {
	return answerText{status, fmt.Sprintf(format, args...) + b.tracking(), condition}
}

func (b *Broker) rightsOf(policy string) Rights {
	if r, ok := b.opts.Rights[policy]; ok {
		return r
	}
	return Rights{Listen: true, Send: true, Manage: true}
}

// putToken checks a token and keeps it for the connection.
func (c *conn) putToken(kind, audience, text string) answerText {
	b := c.b
	if a := b.faults.takeCBSAnswer(); a != nil {
		return *a
	}
	var t token
	var refused *answerText
	switch strings.TrimPrefix(kind, "servicebus.windows.net:") {
	case "sastoken":
		t, refused = b.checkSAS(audience, text)
	case "jwt":
		t, refused = b.checkJWT(audience, text)
	default:
		a := b.refusal(400, condArgumentError, "Token type '%s' is not supported.", kind)
		refused = &a
	}
	if refused != nil {
		return *refused
	}
	path := strings.ToLower(entityPath(audience))
	if hub, _, _ := strings.Cut(path, "/"); hub != "" && hub != nodeManagement {
		if _, ok := b.Hub(hub); !ok {
			return b.refusal(404, condNotFound, "The messaging entity '%s' could not be found. To know more visit https://aka.ms/sbResourceMgrExceptions.", audience)
		}
	}
	c.mu.Lock()
	c.tokens[path] = t
	c.mu.Unlock()
	return answerText{status: 202, description: "Accepted"}
}

// checkSAS checks a token of the form
//
//	SharedAccessSignature sr=<resource>&sig=<signature>&se=<expiry>&skn=<policy>
//
// where the signature is over the resource as it stands there, a line feed and the expiry.
func (b *Broker) checkSAS(audience, text string) (token, *answerText) {
	refuse := func(format string, args ...any) (token, *answerText) {
		a := b.refusal(401, condAuthFailed, format, args...)
		return token{}, &a
	}
	list, ok := strings.CutPrefix(text, "SharedAccessSignature ")
	if !ok {
		return refuse("MalformedToken: The token is not a shared access signature.")
	}
	fields := map[string]string{}
	for pair := range strings.SplitSeq(list, "&") {
		name, value, _ := strings.Cut(pair, "=")
		fields[name] = value
	}
	policy, err1 := url.QueryUnescape(fields["skn"])
	signature, err2 := url.QueryUnescape(fields["sig"])
	resource, err3 := url.QueryUnescape(fields["sr"])
	expiry, err4 := strconv.ParseInt(fields["se"], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
		return refuse("MalformedToken: The token is missing sr, sig, se or skn.")
	}
	key, known := b.opts.Keys[policy]
	if !known {
		return refuse("InvalidSignature: The token has an invalid signature.")
	}
	mac := hmac.New(sha256.New, []byte(key))
	_, _ = fmt.Fprintf(mac, "%s\n%s", fields["sr"], fields["se"])
	if !hmac.Equal([]byte(signature), []byte(base64.StdEncoding.EncodeToString(mac.Sum(nil)))) {
		return refuse("InvalidSignature: The token has an invalid signature.")
	}
	expires := time.Unix(expiry, 0).UTC()
	if !b.opts.Now().Before(expires) {
		return refuse("ExpiredToken: The token is expired. Expiration time: '%s'.", expires.Format("2006-01-02 15:04:05Z"))
	}
	if !opens(strings.ToLower(entityPath(resource)), strings.ToLower(entityPath(audience))) {
		return refuse("InvalidAudience: The authorization header contains a token with a wrong audience.")
	}
	return token{b.rightsOf(policy), expires}, nil
}

// checkJWT asks Options.VerifyToken. Roles are not modeled: a valid token may do everything.
func (b *Broker) checkJWT(audience, text string) (token, *answerText) {
	if b.opts.VerifyToken == nil {
		a := b.refusal(401, condAuthFailed, "Unauthorized: tokens of Microsoft Entra ID are not accepted by this namespace.")
		return token{}, &a
	}
	if err := b.opts.VerifyToken(text, audience); err != nil {
		a := b.refusal(401, condAuthFailed, "Unauthorized: %s.", err)
		return token{}, &a
	}
	return token{Rights{Listen: true, Send: true, Manage: true}, jwtExpiry(text, b.opts.Now())}, nil
}

// jwtExpiry returns the "exp" of a verified token, an hour from now if it has none.
func jwtExpiry(text string, now time.Time) time.Time {
	if parts := strings.Split(text, "."); len(parts) == 3 {
		var claims struct {
			Expires float64 `json:"exp"`
		}
		data, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err == nil && json.Unmarshal(data, &claims) == nil && claims.Expires > 0 {
			return time.Unix(int64(claims.Expires), 0)
		}
	}
	return now.Add(time.Hour)
}

// opens reports whether a token for resource covers path: itself or below it.
func opens(resource, path string) bool {
	return resource == "" || path == resource || strings.HasPrefix(path, resource+"/")
}

// authorized reports whether a token of the connection allows the right on path.
func (c *conn) authorized(path string, right func(Rights) bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.authorizedLocked(path, right)
}

func (c *conn) authorizedLocked(path string, right func(Rights) bool) bool {
	path = strings.ToLower(path)
	now := c.b.opts.Now()
	for resource, t := range c.tokens {
		if opens(resource, path) && right(t.rights) && now.Before(t.expires) {
			return true
		}
	}
	return false
}

// detachExpired ends the links whose tokens have expired and were not renewed.
func (c *conn) detachExpired() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sessions {
		for _, l := range s.links {
			if l.right != nil && l.attached && !l.detached && !c.authorizedLocked(l.entity.path, l.right.of) {
				l.detachLocked(l.unauthorized())
			}
		}
	}
}
