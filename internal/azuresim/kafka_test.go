package azuresim

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// kafkaClient is franz-go as any program would use it on Event Hubs.
func kafkaClient(t *testing.T, s *Sim, mechanism sasl.Mechanism, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	config := clientTLS(t, s)
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(s.Endpoints.Kafka), kgo.DialTLSConfig(config), kgo.SASL(mechanism)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func connectionString(text string) sasl.Mechanism {
	return plain.Auth{User: "$ConnectionString", Pass: text}.AsMechanism()
}

func token(t *testing.T, s *Sim, scope string) sasl.Mechanism {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: clientTLS(t, s)}}
	t.Cleanup(client.CloseIdleConnections)
	credential, err := azidentity.NewClientSecretCredential(s.Endpoints.TenantID, s.Endpoints.ClientID, s.Endpoints.ClientSecret,
		&azidentity.ClientSecretCredentialOptions{DisableInstanceDiscovery: true, ClientOptions: azcore.ClientOptions{
			Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: s.Endpoints.AuthorityHost}, Transport: client,
		}})
	if err != nil {
		t.Fatal(err)
	}
	return oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
		got, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}})
		return oauth.Auth{Token: got.Token}, err
	})
}

func TestKafkaClientsReadTheHubs(t *testing.T) {
	const events = 3000
	s := start(t, Options{Kafka: true, Partitions: 3, Hubs: []string{"insights", "other"}})
	if _, err := s.Produce(t.Context(), events, 0); err != nil {
		t.Fatal(err)
	}
	for name, mechanism := range map[string]sasl.Mechanism{
		"connection string":                   connectionString(s.Endpoints.NamespaceConnectionString),
		"connection string of the hub":        connectionString(s.Endpoints.NamespaceConnectionString + ";EntityPath=insights"),
		"token":                               token(t, s, "https://"+s.Endpoints.Namespace+"/.default"),
		"connection string for the emulator":  connectionString(s.Endpoints.ConnectionString),
		"connection string with the TLS port": connectionString(s.Endpoints.TLSConnectionString),
	} {
		t.Run(name, func(t *testing.T) {
			l := s.Ledger.Fresh()
			client := kafkaClient(t, s, mechanism, kgo.ConsumerGroup("group "+name), kgo.ConsumeTopics("insights", "other"))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			next := map[string]int64{}
			for l.Report().Delivered < events {
				fetches := client.PollFetches(ctx)
				if err := fetches.Err(); err != nil {
					t.Fatalf("%v; %v", err, l.Report())
				}
				fetches.EachRecord(func(r *kgo.Record) {
					l.SeenLine(r.Value)
					partition := fmt.Sprint(r.Topic, "/", r.Partition)
					hub, _ := s.Broker.Hub(r.Topic)
					got, err := hub.Read(int(r.Partition), r.Offset, 1)
					if err != nil || len(got) != 1 || got[0].Sequence != r.Offset || string(got[0].Body) != string(r.Value) || !got[0].Enqueued.Equal(r.Timestamp) {
						t.Fatalf("record %d of %s is not the hub's event of that sequence number", r.Offset, partition)
					}
					if r.Offset != next[partition] {
						t.Fatalf("record %d of %s, want %d", r.Offset, partition, next[partition])
					}
					next[partition]++
				})
			}
			if r := l.Report(); r.Lost != 0 || r.Duplicated != 0 {
				t.Errorf("ledger: %v", r)
			}
		})
	}
}

// TestAnotherKafkaClientReadsTheHubs: kcat stands on librdkafka, which shares no
// code with the endpoint.
func TestAnotherKafkaClientReadsTheHubs(t *testing.T) {
	path, err := exec.LookPath("kcat")
	if err != nil {
		t.Skip("kcat is not installed: apt-get install kcat")
	}
	const events = 3000
	s := start(t, Options{Kafka: true, Partitions: 3})
	if _, err := s.Produce(t.Context(), events, 0); err != nil {
		t.Fatal(err)
	}
	sasl := []string{
		"-b", s.Endpoints.Kafka, "-X", "security.protocol=SASL_SSL", "-X", "ssl.ca.location=" + s.Endpoints.CAFile, "-X", "sasl.mechanism=PLAIN",
		"-X", "sasl.username=$ConnectionString", "-X", "check.crcs=true",
	}
	kcat := func(password string, args ...string) (string, error) {
		command := exec.CommandContext(t.Context(), path, append(append(sasl, "-X", "sasl.password="+password), args...)...)
		command.Env = []string{"HOME=" + t.TempDir()} // without the user's configuration
		var stderr bytes.Buffer
		command.Stderr = &stderr
		out, err := command.Output()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, stderr.String())
		}
		return string(out), err
	}
	l := s.Ledger.Fresh()
	// It ends when a group's member has been given all that is there.
	out, err := kcat(s.Endpoints.NamespaceConnectionString, "-q", "-e", "-X", "auto.offset.reset=earliest", "-G", "group", Hub)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out) {
		l.SeenLine([]byte(line))
	}
	if r := l.Report(); r.Lost != 0 || r.Duplicated != 0 || r.Delivered != events {
		t.Errorf("ledger: %v", r)
	}
	again, err := kcat(s.Endpoints.NamespaceConnectionString, "-q", "-e", "-X", "auto.offset.reset=earliest", "-G", "group", Hub)
	if err != nil || again != "" {
		t.Errorf("a second member of the group, after the first has left, read %.200q, %v; want nothing", again, err)
	}
	if out, err := kcat("Endpoint=sb://x/;SharedAccessKeyName=a;SharedAccessKey=Yg==", "-L", "-m", "3"); err == nil {
		t.Errorf("kcat with a wrong key was let in: %.200q", out)
	}
}

func TestKafkaRefusesWhoHasNoRight(t *testing.T) {
	s := start(t, Options{Kafka: true})
	for name, mechanism := range map[string]sasl.Mechanism{
		"wrong key":              connectionString("Endpoint=sb://x/;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=bm8="),
		"another user":           plain.Auth{User: "admin", Pass: s.Endpoints.NamespaceConnectionString}.AsMechanism(),
		"token of another thing": token(t, s, "https://graph.microsoft.com/.default"),
		"no token":               oauth.Oauth(func(context.Context) (oauth.Auth, error) { return oauth.Auth{Token: "x"}, nil }),
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := kafkaClient(t, s, mechanism, kgo.RequestRetries(0), kgo.RetryTimeout(time.Second)).Ping(ctx); err == nil {
				t.Error("the endpoint answered")
			}
		})
	}
	t.Run("writing", func(t *testing.T) {
		client := kafkaClient(t, s, connectionString(s.Endpoints.NamespaceConnectionString))
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: Hub, Value: []byte("x")}).FirstErr(); err == nil {
			t.Error("a client wrote into the topic")
		}
	})
	t.Run("no TLS", func(t *testing.T) {
		client, err := kgo.NewClient(kgo.SeedBrokers(s.Endpoints.Kafka), kgo.RequestRetries(0), kgo.RetryTimeout(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := client.Ping(ctx); err == nil {
			t.Error("the endpoint answered without TLS")
		}
	})
}

func TestKafkaFollowsAHubThatWasMadeAnew(t *testing.T) {
	s := start(t, Options{Kafka: true, Partitions: 1, RecordsPerMessage: 1})
	if _, err := s.Produce(t.Context(), 20, 0); err != nil {
		t.Fatal(err)
	}
	if err := s.RecreateHub(Hub); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Produce(t.Context(), 5, 0); err != nil {
		t.Fatal(err)
	}
	client := kafkaClient(t, s, connectionString(s.Endpoints.NamespaceConnectionString), kgo.ConsumeTopics(Hub))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n := int64(0); n < 5; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != n {
				t.Errorf("offset %d, want %d", r.Offset, n)
			}
			n++
		})
	}
}

func TestKafkaForgetsWhatTheHubDoesNotRetain(t *testing.T) {
	s := start(t, Options{Kafka: true, Partitions: 1, RetainBytes: 2 << 20})
	for range 10 {
		if _, err := s.Produce(t.Context(), 1000, 0); err != nil {
			t.Fatal(err)
		}
	}
	hub, _ := s.Broker.Hub(Hub)
	info, err := hub.Partition(0)
	if err != nil || info.BeginSequence == 0 {
		t.Fatalf("partition %+v, %v; want one whose oldest events are gone", info, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		client := kafkaClient(t, s, connectionString(s.Endpoints.NamespaceConnectionString), kgo.ConsumeTopics(Hub))
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		if fetches.Records()[0].Offset == info.BeginSequence {
			return
		}
		client.Close()
	}
}
