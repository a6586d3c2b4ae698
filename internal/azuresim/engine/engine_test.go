package engine

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/bufbuild/protocompile"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// contract is how the engines' SDK has it (github.com/threatwinds/go-sdk v1.0.45).
const contract = `
syntax = "proto3";
package plugins;
message Log { string id=1; string dataType=2; string dataSource=3; string timestamp=4 [json_name="@timestamp"]; string tenantId=5; string raw=6; }
message Ack { string lastId=1; }
service Engine { rpc Input(stream Log) returns (stream Ack); }
service Integration { rpc ProcessLog(stream Log) returns (stream Ack); }
`

// client is one that knows the contract only, through gRPC's own codec.
type client struct {
	t      *testing.T
	stream grpc.ClientStream
	log    protoreflect.MessageDescriptor
	ack    protoreflect.MessageDescriptor
}

func open(t *testing.T, s *Server, method string) *client {
	t.Helper()
	compiler := protocompile.Compiler{Resolver: &protocompile.SourceResolver{Accessor: protocompile.SourceAccessorFromMap(map[string]string{"plugins.proto": contract})}}
	files, err := compiler.Compile(t.Context(), "plugins.proto")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "engine.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	done := s.Serve(ln)
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		s.Stop()
		if err := <-done; err != nil {
			t.Errorf("Serve() = %v", err)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		t.Fatal(err)
	}
	messages := files[0].Messages()
	return &client{t, stream, messages.ByName("Log"), messages.ByName("Ack")}
}

func (c *client) send(id, raw string) {
	c.t.Helper()
	m := dynamicpb.NewMessage(c.log)
	for name, value := range map[protoreflect.Name]string{"id": id, "dataType": "azure", "dataSource": "s", "timestamp": "2026-01-02T12:00:00Z", "tenantId": "t", "raw": raw} {
		m.Set(c.log.Fields().ByName(name), protoreflect.ValueOfString(value))
	}
	if err := c.stream.SendMsg(m); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) receive() (string, error) {
	m := dynamicpb.NewMessage(c.ack)
	if err := c.stream.RecvMsg(m); err != nil {
		return "", err
	}
	return m.Get(c.ack.Fields().ByName("lastId")).String(), nil
}

func TestContract(t *testing.T) {
	for _, method := range []string{"/plugins.Engine/Input", "/plugins.Integration/ProcessLog"} {
		s := New(Options{})
		c := open(t, s, method)
		for _, id := range []string{"a", "b"} {
			c.send(id, `{"é":1}`)
			if got, err := c.receive(); err != nil || got != id {
				t.Errorf("%s: acknowledged %q, %v; want %q", method, got, err, id)
			}
		}
		got := s.Logs()
		if len(got) != 2 || got[1].ID != "b" || got[1].DataType != "azure" || got[1].DataSource != "s" ||
			got[1].Timestamp != "2026-01-02T12:00:00Z" || got[1].TenantID != "t" || string(got[1].Raw) != `{"é":1}` {
			t.Errorf("%s: logs are %+v", method, got)
		}
	}
}

func TestFaults(t *testing.T) {
	s := New(Options{Metadata: map[string]string{"key": "k"}})
	c := open(t, s, "/plugins.Integration/ProcessLog")
	if _, err := c.receive(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("without a key: %v, want Unauthenticated", err)
	}
	s = New(Options{})
	s.Refuse("bad")
	c = open(t, s, "/plugins.Engine/Input")
	c.send("bad-1", "{}")
	if _, err := c.receive(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a refused log: %v, want InvalidArgument", err)
	}
	s = New(Options{})
	s.Cut(1)
	c = open(t, s, "/plugins.Engine/Input")
	c.send("a", "{}")
	if _, err := c.receive(); err == nil {
		t.Error("an acknowledgement over a connection that was cut")
	}
	if s.Count() != 1 {
		t.Errorf("%d logs were kept before the cut, want 1", s.Count())
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{10, 1, 'a', 50, 2, '{', '}'})
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = parse(b) }) // no panic
}
