package azuresim

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
)

// control sends a request to the control surface and returns the answer.
func control(t *testing.T, s *Sim, method, path string) map[string]any {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.Endpoints.Control+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %d, %v, %v", method, path, response.StatusCode, answer, err)
	}
	return answer
}

func withoutRetries() azcore.ClientOptions {
	return azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}}
}

func TestStorageByEveryCredential(t *testing.T) {
	s := start(t, Options{Seed: 3})
	e := s.Endpoints.Storage
	if err := s.Blobs.CreateContainer(e.Account, "insights-logs-auditlogs"); err != nil {
		t.Fatal(err)
	}
	if err := s.Blobs.Append(e.Account, "insights-logs-auditlogs", "tenantId=x/PT1H.json", []byte("{}\n")); err != nil {
		t.Fatal(err)
	}
	options := &azblob.ClientOptions{ClientOptions: withoutRetries()}
	trusting := &http.Client{Transport: &http.Transport{TLSClientConfig: clientTLS(t, s)}}
	t.Cleanup(trusting.CloseIdleConnections)
	secure := &azblob.ClientOptions{ClientOptions: withoutRetries()}
	secure.Transport = trusting
	clients := map[string]func() (*azblob.Client, error){
		"connection string": func() (*azblob.Client, error) {
			return azblob.NewClientFromConnectionString(e.ConnectionString, options)
		},
		"connection string, TLS": func() (*azblob.Client, error) {
			return azblob.NewClientFromConnectionString(e.TLSConnectionString, secure)
		},
		"key": func() (*azblob.Client, error) {
			key, err := azblob.NewSharedKeyCredential(e.Account, e.Key)
			if err != nil {
				return nil, err
			}
			return azblob.NewClientWithSharedKeyCredential(e.Blob, key, options)
		},
		"SAS": func() (*azblob.Client, error) { return azblob.NewClientWithNoCredential(e.Blob+"/?"+e.SAS, options) },
		"Entra": func() (*azblob.Client, error) {
			credential, err := azidentity.NewClientSecretCredential(s.Endpoints.TenantID, s.Endpoints.ClientID, s.Endpoints.ClientSecret, &azidentity.ClientSecretCredentialOptions{
				ClientOptions: azcore.ClientOptions{
					Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: s.Endpoints.AuthorityHost}, Transport: trusting,
				},
				DisableInstanceDiscovery: true,
			})
			if err != nil {
				return nil, err
			}
			return azblob.NewClient(e.BlobTLS, credential, secure)
		},
	}
	for name, make := range clients {
		t.Run(name, func(t *testing.T) {
			client, err := make()
			if err != nil {
				t.Fatal(err)
			}
			if got := names(t, client.ServiceClient().NewContainerClient("insights-logs-auditlogs")); len(got) != 1 || got[0] != "tenantId=x/PT1H.json" {
				t.Errorf("listed %q", got)
			}
			r, err := client.DownloadStream(t.Context(), "insights-logs-auditlogs", "tenantId=x/PT1H.json", nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			if data, err := io.ReadAll(r.Body); err != nil || string(data) != "{}\n" {
				t.Errorf("read %q, %v", data, err)
			}
		})
	}
	t.Run("no role", func(t *testing.T) {
		control(t, s, http.MethodPost, "/faults/storage-role?role=none")
		client, err := clients["Entra"]()
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.DownloadStream(t.Context(), "insights-logs-auditlogs", "tenantId=x/PT1H.json", nil)
		var refused *azcore.ResponseError
		if !errors.As(err, &refused) || refused.ErrorCode != "AuthorizationPermissionMismatch" {
			t.Errorf("without a role: %v", err)
		}
		control(t, s, http.MethodPost, "/faults/clear")
		if _, err = client.DownloadStream(t.Context(), "insights-logs-auditlogs", "tenantId=x/PT1H.json", nil); err != nil {
			t.Errorf("after clear: %v", err)
		}
	})
}

func names(t *testing.T, c *container.Client) (names []string) {
	t.Helper()
	pager := c.NewListBlobsFlatPager(nil)
	for pager.More() {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page.Segment.BlobItems {
			names = append(names, *b.Name)
		}
	}
	return names
}

func TestCreatedBlobsAreNoticed(t *testing.T) {
	s := start(t, Options{Seed: 3, Storage: StorageOptions{NoticeQueue: "blob-created"}})
	e := s.Endpoints.Storage
	if err := s.Blobs.CreateContainer(e.Account, "logs"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.Blobs.Append(e.Account, "logs", "a b/PT1H.json", []byte("{}\n")); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Blobs.Put(e.Account, "logs", "other", []byte("x")); err != nil {
		t.Fatal(err)
	}
	queue, err := azqueue.NewQueueClientFromConnectionString(e.ConnectionString, e.NoticeQueue, nil)
	if err != nil {
		t.Fatal(err)
	}
	var subjects []string
	for {
		r, err := queue.DequeueMessage(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Messages) == 0 {
			break
		}
		raw, err := base64.StdEncoding.DecodeString(*r.Messages[0].MessageText)
		if err != nil {
			t.Fatal(err)
		}
		var event struct {
			Subject, EventType string
			Data               struct{ API, URL, Sequencer string }
		}
		if err := json.Unmarshal(raw, &event); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		subjects = append(subjects, event.EventType+" "+event.Data.API+" "+event.Subject)
	}
	want := "Microsoft.Storage.BlobCreated PutBlob /blobServices/default/containers/logs/blobs/a b/PT1H.json|" +
		"Microsoft.Storage.BlobCreated PutBlob /blobServices/default/containers/logs/blobs/other"
	if got := strings.Join(subjects, "|"); got != want {
		t.Errorf("noticed %s\nwant    %s", got, want)
	}
}

func TestStorageOnTheControlSurface(t *testing.T) {
	s := start(t, Options{Seed: 3})
	if got := control(t, s, http.MethodPost, "/storage/history?container=old&resources=3&hours=100"); got["blobs"] != 300.0 {
		t.Errorf("history: %v", got)
	}
	client, err := azblob.NewClientFromConnectionString(s.Endpoints.Storage.ConnectionString, &azblob.ClientOptions{ClientOptions: withoutRetries()})
	if err != nil {
		t.Fatal(err)
	}
	listed := names(t, client.ServiceClient().NewContainerClient("old"))
	if len(listed) != 300 {
		t.Fatalf("%d blobs are listed, want 300", len(listed))
	}
	query := url.Values{"container": {"old"}, "blob": {listed[7]}}.Encode()
	read := func() string {
		r, err := client.DownloadStream(t.Context(), "old", listed[7], nil)
		if err == nil {
			_ = r.Body.Close()
			return "ok"
		}
		var refused *azcore.ResponseError
		if errors.As(err, &refused) {
			return refused.ErrorCode
		}
		return err.Error()
	}
	for _, step := range []struct{ path, want string }{
		{"/storage/touch?" + query, "ok"},
		{"/storage/archive?" + query, "BlobArchived"},
		{"/storage/replace?" + query, "ok"},
		{"/storage/delete?" + query, "BlobNotFound"},
		{"/faults/storage?status=403&code=AuthorizationFailure&operation=GetBlob", "AuthorizationFailure"},
		{"/storage/containers?container=new", "BlobNotFound"},
	} {
		control(t, s, http.MethodPost, step.path)
		if got := read(); got != step.want {
			t.Errorf("after %s: %s, want %s", step.path, got, step.want)
		}
	}
	counts, _ := control(t, s, http.MethodGet, "/storage")["blob"].(map[string]any)
	if counts["GetBlob"] != 6.0 || counts["ListBlobs"] != 1.0 {
		t.Errorf("counts %v", counts)
	}
}

// readStorage notes all that lies in the storage account.
func readStorage(t *testing.T, s *Sim) (blobs int) {
	t.Helper()
	client, err := azblob.NewClientFromConnectionString(s.Endpoints.Storage.ConnectionString, nil)
	if err != nil {
		t.Fatal(err)
	}
	pager := client.NewListContainersPager(nil)
	for pager.More() {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page.ContainerItems {
			for _, name := range names(t, client.ServiceClient().NewContainerClient(*c.Name)) {
				r, err := client.DownloadStream(t.Context(), *c.Name, name, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Ledger.Read(r.Body); err != nil {
					t.Fatal(err)
				}
				_ = r.Body.Close()
				blobs++
			}
		}
	}
	return blobs
}

func TestEveryRecordIsArchivedOnce(t *testing.T) {
	s := start(t, Options{Seed: 5, Doors: func(string) []Door { return []Door{Storage} }})
	const events = 3000
	for range 3 {
		if n, err := s.Produce(t.Context(), events/3, 0); n != events/3 || err != nil {
			t.Fatalf("Produce = %d, %v", n, err)
		}
	}
	blobs := readStorage(t, s)
	if got := s.Ledger.Report(); got.Produced != events || got.Lost != 0 || got.Duplicated != 0 || got.Unknown != 0 || got.NoID != 0 {
		t.Errorf("ledger: %v", got)
	}
	for _, name := range []string{"insights-logs-flowlogflowevent", "insights-logs-networksecuritygroupflowevent"} {
		if len(s.Blobs.Names(s.Endpoints.Storage.Account, name)) == 0 {
			t.Errorf("no flow log in %s", name)
		}
	}
	if blobs < 20 {
		t.Errorf("all is in %d blobs; one for each resource and category was expected", blobs)
	}
}

func TestStorageGrowsByItself(t *testing.T) {
	grown := make(chan struct{}, 1)
	s := start(t, Options{
		Seed: 5, Rate: 500, Doors: func(string) []Door { return []Door{Storage} },
		Storage: StorageOptions{AppendEvery: 10 * time.Millisecond, FlowEvery: 10 * time.Millisecond, Grown: func() {
			select {
			case grown <- struct{}{}:
			default:
			}
		}},
	})
	client, err := azblob.NewClientFromConnectionString(s.Endpoints.Storage.ConnectionString, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var first azcore.ETag
	for {
		page, err := client.NewListBlobsFlatPager("insights-logs-noninteractiveusersigninlogs", nil).NextPage(ctx)
		if err == nil && len(page.Segment.BlobItems) > 0 {
			p := page.Segment.BlobItems[0].Properties
			if first == "" {
				first = *p.ETag
			} else if first != *p.ETag {
				return
			}
		}
		select {
		case <-grown:
		case <-ctx.Done():
			t.Fatal("no blob grew within a minute")
		}
	}
}
