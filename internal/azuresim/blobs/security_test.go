package blobs_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/lazuli-logs/lazuli/internal/azuresim/azuritetest"
	"github.com/lazuli-logs/lazuli/internal/azuresim/blobs"
	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
)

// attempts tries to list, read, write and delete, and returns the outcomes.
func attempts(t *testing.T, c *container.Client) string {
	t.Helper()
	_, list := c.NewListBlobsFlatPager(nil).NextPage(t.Context())
	_, read := download(t, c, "b", nil)
	_, write := c.NewBlockBlobClient("b").UploadBuffer(t.Context(), []byte("x"), nil)
	_, remove := c.NewBlobClient("other").Delete(t.Context(), nil)
	return strings.Join([]string{code(list), code(read), code(write), code(remove)}, ", ")
}

const (
	mismatch = "403 AuthorizationPermissionMismatch"
	failed   = "403 AuthenticationFailed"
)

func TestKeys(t *testing.T) {
	s, address := start(t, blobs.Options{})
	mustContainer(t, s, "logs")
	for name, tc := range map[string]struct{ account, key, want string }{
		"right":         {account, key, "ok"},
		"wrong key":     {account, strings.Replace(key, "E", "F", 1), failed},
		"wrong account": {"nobody", key, failed},
	} {
		credential, err := service.NewSharedKeyCredential(tc.account, tc.key)
		if err != nil {
			t.Fatal(err)
		}
		c, err := container.NewClientWithSharedKeyCredential("http://"+address+"/"+tc.account+"/logs", credential, &container.ClientOptions{ClientOptions: noRetries()})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.GetProperties(t.Context(), nil)
		check(t, name, code(err), tc.want)
	}
	anonymous, err := container.NewClientWithNoCredential("http://"+address+"/"+account+"/logs", &container.ClientOptions{ClientOptions: noRetries()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = anonymous.GetProperties(t.Context(), nil)
	check(t, "anonymous", code(err), "401 NoAuthenticationInformation")
}

// TestSharedAccessSignatures holds what signatures of Microsoft's client open,
// on the simulator and on Azurite.
func TestSharedAccessSignatures(t *testing.T) {
	t.Run("simulator", func(t *testing.T) {
		_, address := start(t, blobs.Options{})
		signatures(t, address, failed)
	})
	// The service's code is that of learn.microsoft.com/rest/api/storageservices/create-account-sas;
	// Azurite has one of its own.
	t.Run("Azurite", func(t *testing.T) { signatures(t, azuritetest.Blob(t), "403 AuthorizationFailure") })
}

func signatures(t *testing.T, address, failed string) {
	owner := serviceClient(t, address)
	mine := owner.NewContainerClient("logs")
	if _, err := mine.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.CreateContainer(t.Context(), "secrets", nil); err != nil {
		t.Fatal(err)
	}
	credential, err := service.NewSharedKeyCredential(account, key)
	if err != nil {
		t.Fatal(err)
	}
	hour := time.Now().UTC().Add(time.Hour)
	forAccount := func(v sas.AccountSignatureValues) string {
		q, err := v.SignWithSharedKey(credential)
		if err != nil {
			t.Fatal(err)
		}
		return q.Encode()
	}
	forService := func(v sas.BlobSignatureValues) string {
		q, err := v.SignWithSharedKey(credential)
		if err != nil {
			t.Fatal(err)
		}
		return q.Encode()
	}
	both := sas.ProtocolHTTPSandHTTP
	tests := []struct{ name, container, signature, want string }{
		{
			"account, read and list", "logs",
			forAccount(sas.AccountSignatureValues{Protocol: both, ExpiryTime: hour, Permissions: "rl", ResourceTypes: "sco"}),
			"ok, ok, " + mismatch + ", " + mismatch,
		},
		{
			"account, all", "logs",
			forAccount(sas.AccountSignatureValues{Protocol: both, ExpiryTime: hour, Permissions: "rwdlac", ResourceTypes: "sco"}),
			"ok, ok, ok, 404 BlobNotFound",
		},
		{
			"account, objects only", "logs",
			forAccount(sas.AccountSignatureValues{Protocol: both, ExpiryTime: hour, Permissions: "rl", ResourceTypes: "o"}),
			"403 AuthorizationResourceTypeMismatch, ok, " + mismatch + ", " + mismatch,
		},
		{
			"account, expired", "logs",
			forAccount(sas.AccountSignatureValues{Protocol: both, ExpiryTime: hour.Add(-2 * time.Hour), Permissions: "rl", ResourceTypes: "sco"}),
			strings.Join([]string{failed, failed, failed, failed}, ", "),
		},
		{
			"account, not yet", "logs",
			forAccount(sas.AccountSignatureValues{Protocol: both, StartTime: hour, ExpiryTime: hour.Add(time.Hour), Permissions: "rl", ResourceTypes: "sco"}),
			strings.Join([]string{failed, failed, failed, failed}, ", "),
		},
		{
			"account, https only", "logs",
			forAccount(sas.AccountSignatureValues{Protocol: sas.ProtocolHTTPS, ExpiryTime: hour, Permissions: "rl", ResourceTypes: "sco"}),
			strings.TrimSuffix(strings.Repeat("403 AuthorizationProtocolMismatch, ", 4), ", "),
		},
		{
			"container, read and list", "logs",
			forService(sas.BlobSignatureValues{Protocol: both, ExpiryTime: hour, Permissions: "rl", ContainerName: "logs"}),
			"ok, ok, " + mismatch + ", " + mismatch,
		},
		{
			"container, list only", "logs",
			forService(sas.BlobSignatureValues{Protocol: both, ExpiryTime: hour, Permissions: "l", ContainerName: "logs"}),
			"ok, " + mismatch + ", " + mismatch + ", " + mismatch,
		},
		{
			"container, other container", "secrets",
			forService(sas.BlobSignatureValues{Protocol: both, ExpiryTime: hour, Permissions: "rl", ContainerName: "logs"}),
			strings.Join([]string{failed, failed, failed, failed}, ", "),
		},
		{
			"tampered", "logs",
			strings.Replace(forService(sas.BlobSignatureValues{Protocol: both, ExpiryTime: hour, Permissions: "r", ContainerName: "logs"}), "sp=r", "sp=rwdl", 1),
			strings.Join([]string{failed, failed, failed, failed}, ", "),
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			upload(t, mine, "b", "x", nil)
			c, err := container.NewClientWithNoCredential("http://"+address+"/"+account+"/"+tc.container+"?"+tc.signature, &container.ClientOptions{ClientOptions: noRetries()})
			if err != nil {
				t.Fatal(err)
			}
			check(t, "list, read, write, delete", attempts(t, c), tc.want)
		})
	}
	t.Run("one blob", func(t *testing.T) {
		upload(t, mine, "b", "x", nil)
		upload(t, mine, "other", "x", nil)
		signature := forService(sas.BlobSignatureValues{Protocol: both, ExpiryTime: hour, Permissions: "r", ContainerName: "logs", BlobName: "b"})
		c, err := container.NewClientWithNoCredential("http://"+address+"/"+account+"/logs?"+signature, &container.ClientOptions{ClientOptions: noRetries()})
		if err != nil {
			t.Fatal(err)
		}
		text, err := download(t, c, "b", nil)
		check(t, "the blob", text+" "+code(err), "x ok")
		_, err = download(t, c, "other", nil)
		check(t, "another blob", code(err), failed)
	})
}

// fixed is a credential with one token.
type fixed string

// GetToken implements azcore.TokenCredential.
func (f fixed) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(f), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func TestTokensAndRoles(t *testing.T) {
	options := blobs.Options{Options: storageapi.Options{
		Accounts: map[string]string{account: key},
		VerifyToken: func(token string) error {
			if token != "good" {
				return errors.New("no such token")
			}
			return nil
		},
	}}
	s, err := blobs.New(options)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(s)
	t.Cleanup(server.Close)
	// As with a redirected name resolution: the host says which account it is.
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: transport.TLSClientConfig.RootCAs, ServerName: "example.com"}
	transport.DialContext = func(ctx context.Context, network, _ string) (c netConn, err error) {
		return dial(ctx, network, server.Listener.Addr().String())
	}
	t.Cleanup(transport.CloseIdleConnections)
	client := func(token string) *container.Client {
		o := &container.ClientOptions{ClientOptions: noRetries()}
		o.Transport = &http.Client{Transport: transport}
		c, err := container.NewClient("https://"+account+".blob.core.windows.net/logs", fixed(token), o)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	mustContainer(t, s, "logs")
	if err := s.Put(account, "logs", "b", []byte("x")); err != nil {
		t.Fatal(err)
	}
	const all = "ok, ok, ok, 404 BlobNotFound"
	check(t, "contributor", attempts(t, client("good")), all)
	s.SetRole(storageapi.RoleReader)
	check(t, "reader", attempts(t, client("good")), "ok, ok, "+mismatch+", "+mismatch)
	s.SetRole(storageapi.RoleNone)
	check(t, "no role", attempts(t, client("good")), strings.Join([]string{mismatch, mismatch, mismatch, mismatch}, ", "))
	s.SetRole(storageapi.RoleContributor)
	_, err = client("bad").GetProperties(t.Context(), nil)
	check(t, "bad token", code(err), "401 InvalidAuthenticationInfo")
}
