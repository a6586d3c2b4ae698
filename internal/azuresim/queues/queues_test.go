package queues_test

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2/sas"

	"github.com/lazuli-logs/lazuli/internal/azuresim/azuritetest"
	"github.com/lazuli-logs/lazuli/internal/azuresim/queues"
	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
)

// The account that every copy of Microsoft's emulator has, with its public key
// (learn.microsoft.com/azure/storage/common/storage-use-azurite).
const (
	account = "devstoreaccount1"
	key     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

func start(t *testing.T, now func() time.Time) (*queues.Server, string) {
	t.Helper()
	server, err := queues.New(storageapi.Options{Accounts: map[string]string{account: key}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(server)
	t.Cleanup(listener.Close)
	return server, listener.Listener.Addr().String()
}

func clientOptions() *azqueue.ClientOptions {
	return &azqueue.ClientOptions{ClientOptions: azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}}}
}

func serviceClient(t *testing.T, address string) *azqueue.ServiceClient {
	t.Helper()
	credential, err := azqueue.NewSharedKeyCredential(account, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := azqueue.NewServiceClientWithSharedKeyCredential("http://"+address+"/"+account+"/", credential, clientOptions())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func code(err error) string {
	var refused *azcore.ResponseError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &refused):
		return fmt.Sprintf("%d %s", refused.StatusCode, refused.ErrorCode)
	}
	return err.Error()
}

func check(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// TestLikeAzurite runs the same scenario with Microsoft's client on the
// simulator and on Microsoft's emulator.
func TestLikeAzurite(t *testing.T) {
	t.Run("simulator", func(t *testing.T) {
		_, address := start(t, nil)
		queueScenario(t, serviceClient(t, address))
		messageScenario(t, serviceClient(t, address), false)
	})
	t.Run("Azurite", func(t *testing.T) {
		address := azuritetest.Queue(t)
		queueScenario(t, serviceClient(t, address))
		messageScenario(t, serviceClient(t, address), true)
	})
}

func queueScenario(t *testing.T, c *azqueue.ServiceClient) {
	ctx := t.Context()
	q := c.NewQueueClient("notices-0")
	_, err := q.GetProperties(ctx, nil)
	check(t, "properties of none", code(err), "404 QueueNotFound")
	_, err = q.DequeueMessage(ctx, nil)
	check(t, "dequeue from none", code(err), "404 QueueNotFound")
	for i := range 3 {
		_, err := c.CreateQueue(ctx, fmt.Sprintf("notices-%d", i), nil)
		check(t, "create", code(err), "ok")
	}
	_, err = q.Create(ctx, nil)
	check(t, "create again", code(err), "ok")
	_, err = q.Create(ctx, &azqueue.CreateOptions{Metadata: map[string]*string{"purpose": to.Ptr("tests")}})
	check(t, "create otherwise", code(err), "409 QueueAlreadyExists")
	var names []string
	pager := c.NewListQueuesPager(&azqueue.ListQueuesOptions{Prefix: to.Ptr("notices-"), MaxResults: to.Ptr[int32](2)})
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range page.Queues {
			names = append(names, *q.Name)
		}
	}
	check(t, "list", strings.Join(names, " "), "notices-0 notices-1 notices-2")
	_, err = c.DeleteQueue(ctx, "notices-2", nil)
	check(t, "delete", code(err), "ok")
	_, err = c.DeleteQueue(ctx, "notices-2", nil)
	check(t, "delete again", code(err), "404 QueueNotFound")
	_, err = q.SetMetadata(ctx, &azqueue.SetMetadataOptions{Metadata: map[string]*string{"purpose": to.Ptr("tests")}})
	check(t, "set metadata", code(err), "ok")
	p, err := q.GetProperties(ctx, nil)
	check(t, "properties", code(err), "ok")
	if p.ApproximateMessagesCount == nil || *p.ApproximateMessagesCount != 0 {
		t.Errorf("an empty queue has %v messages", p.ApproximateMessagesCount)
	}
}

func messageScenario(t *testing.T, c *azqueue.ServiceClient, azurite bool) {
	ctx := t.Context()
	q := c.NewQueueClient("messages")
	if _, err := q.Create(ctx, nil); err != nil {
		t.Fatal(err)
	}
	texts := []string{"one", "eyJhIjoxfQ==", `<{"three": "&"}>`}
	for _, text := range texts {
		r, err := q.EnqueueMessage(ctx, text, nil)
		check(t, "enqueue", code(err), "ok")
		if len(r.Messages) != 1 || *r.Messages[0].MessageID == "" || *r.Messages[0].PopReceipt == "" {
			t.Error("enqueue returns no id or no receipt")
		}
	}
	_, err := q.EnqueueMessage(ctx, strings.Repeat("x", 64<<10+1), nil)
	check(t, "enqueue too much", code(err), "413 RequestBodyTooLarge")
	_, err = q.EnqueueMessage(ctx, "hidden", &azqueue.EnqueueMessageOptions{VisibilityTimeout: to.Ptr[int32](3600)})
	check(t, "enqueue hidden", code(err), "ok")

	peeked, err := q.PeekMessages(ctx, &azqueue.PeekMessagesOptions{NumberOfMessages: to.Ptr[int32](32)})
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, m := range peeked.Messages {
		seen = append(seen, fmt.Sprint(*m.MessageText, " ", *m.DequeueCount))
	}
	check(t, "peek", strings.Join(seen, ", "), texts[0]+" 0, "+texts[1]+" 0, "+texts[2]+" 0")
	_, err = q.PeekMessages(ctx, &azqueue.PeekMessagesOptions{NumberOfMessages: to.Ptr[int32](33)})
	check(t, "peek too many", code(err), "400 OutOfRangeQueryParameterValue")

	got, err := q.DequeueMessages(ctx, &azqueue.DequeueMessagesOptions{NumberOfMessages: to.Ptr[int32](32), VisibilityTimeout: to.Ptr[int32](600)})
	if err != nil || len(got.Messages) != 3 {
		t.Fatalf("dequeue: %d messages, %v; want 3", len(got.Messages), err)
	}
	for i, m := range got.Messages {
		check(t, "dequeued", fmt.Sprint(*m.MessageText, " ", *m.DequeueCount), texts[i]+" 1")
	}
	empty, err := q.DequeueMessages(ctx, nil)
	if err != nil || len(empty.Messages) != 0 {
		t.Errorf("dequeue while all are hidden: %d messages, %v", len(empty.Messages), err)
	}
	p, err := q.GetProperties(ctx, nil)
	if err != nil || *p.ApproximateMessagesCount != 4 {
		t.Errorf("%v messages, %v; want 4", p.ApproximateMessagesCount, err)
	}
	first := got.Messages[0]
	if !azurite { // which takes any receipt of the same time
		_, err = q.DeleteMessage(ctx, *first.MessageID, *got.Messages[1].PopReceipt, nil)
		check(t, "delete with another receipt", code(err), "400 PopReceiptMismatch")
	}
	_, err = q.DeleteMessage(ctx, *first.MessageID, *first.PopReceipt, nil)
	check(t, "delete", code(err), "ok")
	_, err = q.DeleteMessage(ctx, *first.MessageID, *first.PopReceipt, nil)
	check(t, "delete again", code(err), "404 MessageNotFound")

	second := got.Messages[1]
	u, err := q.UpdateMessage(ctx, *second.MessageID, *second.PopReceipt, "changed", &azqueue.UpdateMessageOptions{VisibilityTimeout: to.Ptr[int32](0)})
	check(t, "update", code(err), "ok")
	_, err = q.DeleteMessage(ctx, *second.MessageID, *second.PopReceipt, nil)
	check(t, "delete with an old receipt", code(err), "400 PopReceiptMismatch")
	again, err := q.DequeueMessage(ctx, nil)
	if err != nil || len(again.Messages) != 1 {
		t.Fatalf("dequeue again: %v", err)
	}
	check(t, "the updated one", fmt.Sprint(*again.Messages[0].MessageText, " ", *again.Messages[0].DequeueCount), "changed 2")
	if *again.Messages[0].PopReceipt == *u.PopReceipt {
		t.Error("a dequeued message keeps its receipt")
	}
	_, err = q.ClearMessages(ctx, nil)
	check(t, "clear", code(err), "ok")
	p, err = q.GetProperties(ctx, nil)
	if err != nil || *p.ApproximateMessagesCount != 0 {
		t.Errorf("%v messages after clear, %v", p.ApproximateMessagesCount, err)
	}
}

func TestMessagesComeBackAndExpire(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	s, address := start(t, func() time.Time { return now })
	if err := s.CreateQueue(account, "notices"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := s.Put(account, "notices", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	q := serviceClient(t, address).NewQueueClient("notices")
	take := func() (texts string) {
		t.Helper()
		r, err := q.DequeueMessages(t.Context(), &azqueue.DequeueMessagesOptions{NumberOfMessages: to.Ptr[int32](32)})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range r.Messages {
			texts += fmt.Sprint(*m.MessageText, ":", *m.DequeueCount, " ")
		}
		return texts
	}
	check(t, "at first", take(), "0:1 1:1 2:1 ")
	now = now.Add(29 * time.Second)
	check(t, "before the time is up", take(), "")
	now = now.Add(time.Second)
	check(t, "afterwards", take(), "0:2 1:2 2:2 ")
	now = now.Add(7 * 24 * time.Hour)
	check(t, "after a week", take(), "")
	if n := s.Len(account, "notices"); n != 0 {
		t.Errorf("%d messages are kept after they expired", n)
	}
}

func TestAccess(t *testing.T) {
	s, address := start(t, nil)
	if err := s.CreateQueue(account, "notices"); err != nil {
		t.Fatal(err)
	}
	credential, err := azqueue.NewSharedKeyCredential(account, key)
	if err != nil {
		t.Fatal(err)
	}
	const mismatch = "403 AuthorizationPermissionMismatch"
	for _, tc := range []struct {
		name, permissions string
		account           bool
		want              string
	}{
		{"process", "p", false, mismatch + ", ok"},
		{"add", "a", false, "ok, " + mismatch},
		{"account", "ap", true, "ok, ok"},
	} {
		var query string
		if tc.account {
			q, err := sas.AccountSignatureValues{
				Protocol: sas.ProtocolHTTPSandHTTP, ExpiryTime: time.Now().UTC().Add(time.Hour), Permissions: tc.permissions, ResourceTypes: "sco",
			}.SignWithSharedKey(credential)
			if err != nil {
				t.Fatal(err)
			}
			query = q.Encode()
		} else {
			q, err := sas.QueueSignatureValues{
				Protocol: sas.ProtocolHTTPSandHTTP, ExpiryTime: time.Now().UTC().Add(time.Hour), Permissions: tc.permissions, QueueName: "notices",
			}.SignWithSharedKey(credential)
			if err != nil {
				t.Fatal(err)
			}
			query = q.Encode()
		}
		q, err := azqueue.NewQueueClientWithNoCredential("http://"+address+"/"+account+"/notices?"+query, clientOptions())
		if err != nil {
			t.Fatal(err)
		}
		_, put := q.EnqueueMessage(t.Context(), "x", nil)
		_, get := q.DequeueMessage(t.Context(), nil)
		check(t, tc.name, code(put)+", "+code(get), tc.want)
	}
	s.Faults.Add(storageapi.Fault{Operation: "GetMessages", Error: storageapi.ServerBusy(time.Second)})
	_, err = serviceClient(t, address).NewQueueClient("notices").DequeueMessage(t.Context(), nil)
	check(t, "busy", code(err), "503 ServerBusy")
}
