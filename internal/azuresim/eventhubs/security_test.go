package eventhubs

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	goamqp "github.com/Azure/go-amqp"
	"github.com/coder/websocket"
)

// requireError checks for text in an error, and for the SDK's code "unauthorized" if asked.
func requireError(t *testing.T, err error, text string, unauthorized bool) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got error %v, want one with %q", err, text)
		return
	}
	var ee *azeventhubs.Error
	if unauthorized && (!errors.As(err, &ee) || ee.Code != azeventhubs.ErrorCodeUnauthorizedAccess) {
		t.Errorf("got error %v, want code unauthorized", err)
	}
}

func TestTokensAreChecked(t *testing.T) {
	clock := newStepClock()
	o := testOptions()
	o.Keys["listen"], o.Keys["send"] = "listen-key", "send-key"
	o.Rights = map[string]Rights{"listen": {Listen: true}, "send": {Send: true}}
	o.Now = clock.now
	f := newFixture(t, o, 1, HubOptions{})
	fill(t, f.hub, 0, 1)
	for _, tc := range []struct {
		name      string
		policy    string
		key       string
		hub       string
		late      time.Duration
		consumer  string // part of the error; "": none
		producer  string
		forbidden bool // the errors have the SDK's code unauthorized
	}{
		{name: "all rights", policy: testPolicy, key: testKey},
		{name: "wrong key", policy: testPolicy, key: "wrong", consumer: "InvalidSignature", producer: "InvalidSignature", forbidden: true},
		{name: "unknown policy", policy: "nobody", key: testKey, consumer: "InvalidSignature", producer: "InvalidSignature", forbidden: true},
		{name: "expired", policy: testPolicy, key: testKey, late: 3 * time.Hour, consumer: "ExpiredToken", producer: "ExpiredToken", forbidden: true},
		{name: "unknown hub", policy: testPolicy, key: testKey, hub: "missing", consumer: "could not be found", producer: "could not be found"},
		{name: "may only listen", policy: "listen", key: "listen-key", producer: "'Send' claim(s) are required"},
		{name: "may only send", policy: "send", key: "send-key", consumer: "'Listen' claim(s) are required"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx := testContext(t)
			clock.advance(tc.late)
			defer clock.advance(-tc.late)
			hub := testHub
			if tc.hub != "" {
				hub = tc.hub
			}
			cs := "Endpoint=sb://" + f.address + ";SharedAccessKeyName=" + tc.policy + ";SharedAccessKey=" + tc.key + ";UseDevelopmentEmulator=true"
			c, err := azeventhubs.NewConsumerClientFromConnectionString(cs, hub, DefaultConsumerGroup, &azeventhubs.ConsumerClientOptions{RetryOptions: quickRetry})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close(ctx) }()
			_, err = reader(t, c, "0", earliest()).ReceiveEvents(ctx, 1, nil)
			if tc.consumer == "" && err != nil {
				t.Errorf("receive: %v", err)
			} else if tc.consumer != "" {
				requireError(t, err, tc.consumer, tc.forbidden)
			}
			p, err := azeventhubs.NewProducerClientFromConnectionString(cs, hub, &azeventhubs.ProducerClientOptions{RetryOptions: quickRetry})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = p.Close(ctx) }()
			err = sendBatch(ctx, p, azeventhubs.EventDataBatchOptions{}, []byte("x"))
			if tc.producer == "" && err != nil {
				t.Errorf("send: %v", err)
			} else if tc.producer != "" {
				requireError(t, err, tc.producer, false)
			}
		})
	}
}

func TestLinksEndWithTheirToken(t *testing.T) {
	clock := newStepClock()
	o := testOptions()
	o.Now = clock.now
	f := newFixture(t, o, 1, HubOptions{})
	ctx := testContext(t)
	fill(t, f.hub, 0, 1)
	p := reader(t, f.consumer(t, DefaultConsumerGroup), "0", earliest())
	receive(ctx, t, p, 1)
	clock.advance(3 * time.Hour) // the client's tokens last two
	_, err := p.ReceiveEvents(ctx, 1, nil)
	requireError(t, err, "ExpiredToken", true)
	f.waitReceivers(t, 0, 0)
}

func TestLinksNeedAToken(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	ctx := testContext(t)
	c, err := goamqp.Dial(ctx, "amqp://"+f.address, &goamqp.ConnOptions{SASLType: goamqp.SASLTypeAnonymous()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	s, err := c.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	var ae *goamqp.Error
	if _, err := s.NewReceiver(ctx, testHub+"/ConsumerGroups/$Default/Partitions/0", nil); !errors.As(err, &ae) || ae.Condition != goamqp.ErrCondUnauthorizedAccess {
		t.Errorf("receiver: got %v, want %s", err, goamqp.ErrCondUnauthorizedAccess)
	}
	if _, err := s.NewSender(ctx, testHub, nil); !errors.As(err, &ae) || ae.Condition != goamqp.ErrCondUnauthorizedAccess {
		t.Errorf("sender: got %v, want %s", err, goamqp.ErrCondUnauthorizedAccess)
	}
	if _, err := s.NewReceiver(ctx, "$management", nil); err != nil {
		t.Errorf("$management: %v", err)
	}
}

func TestSASLPlain(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	ctx := testContext(t)
	fill(t, f.hub, 0, 1)
	c, err := goamqp.Dial(ctx, "amqp://"+f.address, &goamqp.ConnOptions{SASLType: goamqp.SASLTypePlain(testPolicy, testKey)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	s, err := c.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.NewReceiver(ctx, testHub+"/ConsumerGroups/$Default/Partitions/0", &goamqp.ReceiverOptions{
		Filters: []goamqp.LinkFilter{goamqp.NewSelectorFilter("amqp.annotation.x-opt-offset > '-1'")},
	})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := r.Receive(ctx, nil); err != nil || string(m.GetData()) != "event 0" {
		t.Errorf("receive: %v, %v", m, err)
	}
	for _, tc := range []struct{ name, policy, key string }{
		{"wrong key", testPolicy, "wrong"},
		{"unknown policy", "nobody", testKey},
		{"empty", "", ""},
	} {
		if result := dialWire(t, f.address).tryLogin(tc.policy, tc.key); result != 1 {
			t.Errorf("%s: outcome %d, want 1", tc.name, result)
		}
	}
}

// fixedToken is a credential that knows one token.
type fixedToken string

func (f fixedToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(f), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func TestJWTOverTLS(t *testing.T) {
	const namespace = "contoso.servicebus.windows.net"
	o := testOptions()
	o.Namespace = namespace
	audiences := make(chan string, 100)
	o.VerifyToken = func(jwt, audience string) error {
		if jwt != "good" {
			return errors.New("not the right token")
		}
		audiences <- audience
		return nil
	}
	f := newFixture(t, o, 1, HubOptions{})
	fill(t, f.hub, 0, 3)
	certificate, pool := serverTLS(t, namespace)
	address := serve(t, f.broker, tls.NewListener(listen(t), &tls.Config{Certificates: []tls.Certificate{certificate}}))
	for _, tc := range []struct{ token, want string }{{"good", ""}, {"bad", "not the right token"}} {
		t.Run(tc.token, func(t *testing.T) {
			ctx := testContext(t)
			c, err := azeventhubs.NewConsumerClient(namespace, testHub, DefaultConsumerGroup, fixedToken(tc.token), &azeventhubs.ConsumerClientOptions{
				RetryOptions: quickRetry, CustomEndpoint: address, TLSConfig: &tls.Config{RootCAs: pool},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close(ctx) }()
			_, err = reader(t, c, "0", earliest()).ReceiveEvents(ctx, 3, nil)
			if tc.want == "" && err != nil {
				t.Error(err)
			} else if tc.want != "" {
				requireError(t, err, tc.want, true)
			}
		})
	}
	if got, want := <-audiences, "amqps://"+namespace+"/logs/ConsumerGroups/$Default/Partitions/0"; got != want {
		t.Errorf("audience: got %q, want %q", got, want)
	}
}

func TestJWTExpiry(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	encode := base64.RawURLEncoding.EncodeToString
	for _, tc := range []struct {
		name, token string
		want        time.Time
	}{
		{"claimed", "e30." + encode([]byte(`{"exp":1800000600}`)) + ".s", now.Add(10 * time.Minute)},
		{"not claimed", "e30." + encode([]byte(`{}`)) + ".s", now.Add(time.Hour)},
		{"not a JWT", "opaque", now.Add(time.Hour)},
	} {
		if got := jwtExpiry(tc.token, now); !got.Equal(tc.want) {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
}

func TestWebSockets(t *testing.T) {
	f := newFixture(t, testOptions(), 1, HubOptions{})
	server := httptest.NewServer(f.broker)
	t.Cleanup(server.Close)
	for _, protocol := range []string{"amqp", "AMQPWSB10"} {
		t.Run(protocol, func(t *testing.T) {
			ctx := testContext(t)
			dial := func(ctx context.Context, args azeventhubs.WebSocketConnParams) (net.Conn, error) {
				_, path, _ := strings.Cut(args.Host, f.address)
				ws, _, err := websocket.Dial(ctx, server.URL+path, &websocket.DialOptions{Subprotocols: []string{protocol}})
				if err != nil {
					return nil, err
				}
				if ws.Subprotocol() != protocol {
					return nil, fmt.Errorf("sub-protocol %q, want %q", ws.Subprotocol(), protocol)
				}
				return websocket.NetConn(context.WithoutCancel(ctx), ws, websocket.MessageBinary), nil
			}
			p, err := azeventhubs.NewProducerClientFromConnectionString(f.connectionString(), testHub, &azeventhubs.ProducerClientOptions{RetryOptions: quickRetry, NewWebSocketConn: dial})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = p.Close(context.WithoutCancel(ctx)) }()
			body := []byte(protocol + strings.Repeat(".", 300_000))
			if err := sendBatch(ctx, p, azeventhubs.EventDataBatchOptions{}, body); err != nil {
				t.Fatal(err)
			}
			c, err := azeventhubs.NewConsumerClientFromConnectionString(f.connectionString(), testHub, DefaultConsumerGroup, &azeventhubs.ConsumerClientOptions{RetryOptions: quickRetry, NewWebSocketConn: dial})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close(context.WithoutCancel(ctx)) }()
			n := len(stored(t, f.hub, 0))
			if e := receive(ctx, t, reader(t, c, "0", earliest()), n)[n-1]; string(e.Body) != string(body) {
				t.Errorf("got %d bytes, want the %d sent", len(e.Body), len(body))
			}
		})
	}
	if resp, err := server.Client().Get(server.URL + "/other"); err != nil || resp.StatusCode != 404 {
		t.Errorf("another path: got %v, %v; want 404", resp, err)
	}
}

func TestSASRefusals(t *testing.T) {
	b, err := New(testOptions())
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, token, want string }{
		{"not a signature", "Bearer x", "MalformedToken"},
		{"fields missing", "SharedAccessSignature sr=x", "MalformedToken"},
		{"bad escape", "SharedAccessSignature sr=%zz&sig=x&se=1&skn=x", "MalformedToken"},
		{"unknown policy", "SharedAccessSignature sr=x&sig=x&se=1&skn=x", "InvalidSignature"},
	} {
		if _, refused := b.checkSAS("sb://host/logs", tc.token); refused == nil || refused.status != 401 || !strings.HasPrefix(refused.description, tc.want) {
			t.Errorf("%s: got %+v, want 401 %s", tc.name, refused, tc.want)
		}
	}
	c := newConn(b, nil)
	if a := c.putToken("other", "sb://host/logs", ""); a.status != 400 || a.condition != condArgumentError {
		t.Errorf("an unknown kind of token: got %+v, want 400", a)
	}
}
