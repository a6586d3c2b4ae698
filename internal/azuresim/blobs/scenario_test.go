package blobs_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/appendblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/lazuli-logs/lazuli/internal/azuresim/azuritetest"
	"github.com/lazuli-logs/lazuli/internal/azuresim/blobs"
)

// TestLikeAzurite runs the same scenarios with Microsoft's client on the
// simulator and on Microsoft's emulator.
func TestLikeAzurite(t *testing.T) {
	t.Run("simulator", func(t *testing.T) {
		_, address := start(t, blobs.Options{})
		scenarios(t, address, false)
	})
	t.Run("Azurite", func(t *testing.T) { scenarios(t, azuritetest.Blob(t), true) })
}

func scenarios(t *testing.T, address string, azurite bool) {
	for name, run := range map[string]func(t *testing.T, c *container.Client, azurite bool){
		"containers":      containersScenario,
		"append blob":     appendScenario,
		"block blob":      blockScenario,
		"ranges":          rangeScenario,
		"conditions":      conditionScenario,
		"metadata":        metadataScenario,
		"list":            listScenario,
		"leases":          leaseScenario,
		"container lease": containerLeaseScenario,
		"archive":         archiveScenario,
		"copy":            copyScenario,
		"names":           namesScenario,
	} {
		t.Run(name, func(t *testing.T) {
			c := serviceClient(t, address).NewContainerClient(strings.ReplaceAll(name, " ", "-") + "-scenario")
			if name != "containers" {
				if _, err := c.Create(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
			}
			run(t, c, azurite)
		})
	}
	t.Run("service", func(t *testing.T) { serviceScenario(t, serviceClient(t, address)) })
}

func body(text string) io.ReadSeekCloser { return streaming.NopCloser(strings.NewReader(text)) }

func upload(t *testing.T, c *container.Client, name, text string, o *blockblob.UploadOptions) azcore.ETag {
	t.Helper()
	r, err := c.NewBlockBlobClient(name).Upload(t.Context(), body(text), o)
	if err != nil {
		t.Fatalf("upload %q: %v", name, err)
	}
	return *r.ETag
}

func download(t *testing.T, c *container.Client, name string, o *blob.DownloadStreamOptions) (string, error) {
	t.Helper()
	r, err := c.NewBlobClient(name).DownloadStream(t.Context(), o)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	return string(data), err
}

func containersScenario(t *testing.T, c *container.Client, _ bool) {
	ctx := t.Context()
	_, err := c.GetProperties(ctx, nil)
	check(t, "properties of none", code(err), "404 ContainerNotFound")
	_, err = c.NewListBlobsFlatPager(nil).NextPage(ctx)
	check(t, "list of none", code(err), "404 ContainerNotFound")
	_, err = c.NewBlobClient("x").DownloadStream(ctx, nil)
	check(t, "blob in none", code(err), "404 ContainerNotFound")
	_, err = c.NewBlockBlobClient("x").Upload(ctx, body("x"), nil)
	check(t, "write into none", code(err), "404 ContainerNotFound")
	_, err = c.Create(ctx, &container.CreateOptions{Metadata: map[string]*string{"purpose": to.Ptr("tests")}})
	check(t, "create", code(err), "ok")
	_, err = c.Create(ctx, nil)
	check(t, "create again", code(err), "409 ContainerAlreadyExists")
	p, err := c.GetProperties(ctx, nil)
	check(t, "properties", code(err), "ok")
	if got := p.Metadata["Purpose"]; got == nil || *got != "tests" {
		t.Errorf("metadata %v, want purpose tests", p.Metadata)
	}
	_, err = c.NewBlobClient("x").DownloadStream(ctx, nil)
	check(t, "no blob", code(err), "404 BlobNotFound")
	_, err = c.NewBlobClient("x").GetProperties(ctx, nil)
	check(t, "head of no blob", code(err), "404 BlobNotFound")
	_, err = c.NewBlobClient("x").Delete(ctx, nil)
	check(t, "delete no blob", code(err), "404 BlobNotFound")
	_, err = c.Delete(ctx, nil)
	check(t, "delete", code(err), "ok")
	_, err = c.GetProperties(ctx, nil)
	check(t, "properties afterwards", code(err), "404 ContainerNotFound")
}

func appendScenario(t *testing.T, c *container.Client, _ bool) {
	ctx := t.Context()
	a := c.NewAppendBlobClient("y=2026/PT1H.json")
	_, err := a.AppendBlock(ctx, body("x"), nil)
	check(t, "append to none", code(err), "404 BlobNotFound")
	first, err := a.Create(ctx, nil)
	check(t, "create", code(err), "ok")
	_, err = a.Create(ctx, &appendblob.CreateOptions{AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}}})
	check(t, "create only if new", code(err), "409 BlobAlreadyExists")
	etag := *first.ETag
	for i, want := range []string{"0", "6"} {
		r, err := a.AppendBlock(ctx, body("line "+fmt.Sprint(i)), nil)
		if err != nil {
			t.Fatal(err)
		}
		check(t, "append offset", *r.BlobAppendOffset, want)
		check(t, "committed blocks", fmt.Sprint(*r.BlobCommittedBlockCount), fmt.Sprint(i+1))
		if *r.ETag == etag {
			t.Error("an append leaves the ETag as it was")
		}
		etag = *r.ETag
	}
	position := func(at, most *int64) error {
		_, err := a.AppendBlock(ctx, body("!"), &appendblob.AppendBlockOptions{AppendPositionAccessConditions: &appendblob.AppendPositionAccessConditions{AppendPosition: at, MaxSize: most}})
		return err
	}
	check(t, "append at another offset", code(position(to.Ptr[int64](11), nil)), "412 AppendPositionConditionNotMet")
	check(t, "append over the limit", code(position(nil, to.Ptr[int64](12))), "412 MaxBlobSizeConditionNotMet")
	check(t, "append at the offset", code(position(to.Ptr[int64](12), to.Ptr[int64](13))), "ok")
	text, err := download(t, c, "y=2026/PT1H.json", nil)
	check(t, "content", text+" "+code(err), "line 0line 1! ok")
	p, err := a.GetProperties(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "type", string(*p.BlobType), "AppendBlob")
	check(t, "size", words(*p.ContentLength), "13")
	check(t, "blocks", words(*p.BlobCommittedBlockCount), "3")
	_, err = c.NewBlockBlobClient("y=2026/PT1H.json").GetBlockList(ctx, blockblob.BlockListTypeAll, nil)
	check(t, "block list of an append blob", code(err), "409 InvalidBlobType")
	upload(t, c, "block", "x", nil)
	_, err = c.NewAppendBlobClient("block").AppendBlock(ctx, body("x"), nil)
	check(t, "append to a block blob", code(err), "409 InvalidBlobType")
}

func blockID(n int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "block-%04d", n))
}

func blockScenario(t *testing.T, c *container.Client, _ bool) {
	ctx := t.Context()
	b := c.NewBlockBlobClient("flow/PT1H.json")
	stage := func(n int, text string) {
		t.Helper()
		if _, err := b.StageBlock(ctx, blockID(n), body(text), nil); err != nil {
			t.Fatal(err)
		}
	}
	stage(0, `{"records":[`)
	stage(9999, `]}`)
	_, err := download(t, c, "flow/PT1H.json", nil)
	check(t, "uncommitted blob", code(err), "404 BlobNotFound")
	list, err := b.GetBlockList(ctx, blockblob.BlockListTypeAll, nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "uncommitted blocks", fmt.Sprint(len(list.CommittedBlocks), len(list.UncommittedBlocks)), "0 2")
	_, err = b.CommitBlockList(ctx, []string{blockID(0), blockID(9999)}, nil)
	check(t, "commit", code(err), "ok")
	text, _ := download(t, c, "flow/PT1H.json", nil)
	check(t, "content", text, `{"records":[]}`)
	before, err := b.GetProperties(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{blockID(0)}
	for i := 1; i <= 3; i++ {
		stage(i, strings.TrimPrefix(fmt.Sprintf(`,{"n":%d}`, i), map[bool]string{true: ",", false: ""}[i == 1]))
		ids = append(ids, blockID(i))
		_, err = b.CommitBlockList(ctx, append(ids[:len(ids):len(ids)], blockID(9999)), nil)
		check(t, "commit", code(err), "ok")
	}
	text, _ = download(t, c, "flow/PT1H.json", nil)
	check(t, "content", text, `{"records":[{"n":1},{"n":2},{"n":3}]}`)
	list, err = b.GetBlockList(ctx, blockblob.BlockListTypeCommitted, nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "committed blocks", fmt.Sprint(len(list.CommittedBlocks), *list.CommittedBlocks[4].Size, *list.BlobContentLength), "5 2 37")
	after, err := b.GetProperties(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "creation time stays", fmt.Sprint(after.CreationTime.Equal(*before.CreationTime), *after.ETag != *before.ETag), "true true")
	_, err = b.CommitBlockList(ctx, []string{blockID(0), blockID(77)}, nil)
	check(t, "commit an unknown block", code(err), "400 InvalidBlockList")
	_, err = b.StageBlock(ctx, "not base64!", body("x"), nil)
	if err == nil {
		t.Error("a block id that is not Base64 is taken")
	}
}

func rangeScenario(t *testing.T, c *container.Client, azurite bool) {
	ctx := t.Context()
	content := strings.Repeat("0123456789", 500)
	upload(t, c, "b", content, nil)
	client := c.NewBlobClient("b")
	for _, tc := range []struct {
		offset, count       int64
		want, contentRange  string
		from, to            int
		azuriteWant, remark string
	}{
		{offset: 10, count: 5, want: "ok", contentRange: "bytes 10-14/5000", from: 10, to: 15},
		{offset: 4990, count: 100, want: "ok", contentRange: "bytes 4990-4999/5000", from: 4990, to: 5000},
		{offset: 4000, want: "ok", contentRange: "bytes 4000-4999/5000", from: 4000, to: 5000},
		{offset: 0, want: "ok", from: 0, to: 5000},
		{offset: 5001, count: 1, want: "416 InvalidRange"},
		{offset: 5000, count: 1, want: "416 InvalidRange", azuriteWant: "ok", remark: "Azurite: an empty 206"},
	} {
		r, err := client.DownloadStream(ctx, &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: tc.offset, Count: tc.count}})
		want := tc.want
		if azurite && tc.azuriteWant != "" {
			want = tc.azuriteWant
		}
		check(t, fmt.Sprintf("range %d+%d %s", tc.offset, tc.count, tc.remark), code(err), want)
		if err != nil || tc.to == 0 {
			continue
		}
		data, err := io.ReadAll(r.Body)
		if err != nil || string(data) != content[tc.from:tc.to] {
			t.Errorf("range %d+%d: %d bytes, %v; want %d", tc.offset, tc.count, len(data), err, tc.to-tc.from)
		}
		got := ""
		if r.ContentRange != nil {
			got = *r.ContentRange
		}
		check(t, "Content-Range", got, tc.contentRange)
	}
	upload(t, c, "empty", "", nil)
	r, err := c.NewBlobClient("empty").DownloadStream(ctx, nil)
	check(t, "empty blob", code(err), "ok")
	if err == nil {
		check(t, "its length", fmt.Sprint(*r.ContentLength), "0")
	}
}

func conditionScenario(t *testing.T, c *container.Client, _ bool) {
	ctx := t.Context()
	old := upload(t, c, "b", "one", nil)
	etag := upload(t, c, "b", "two", nil)
	if old == etag {
		t.Fatal("an overwritten blob has the same ETag")
	}
	client := c.NewBlobClient("b")
	read := func(m blob.ModifiedAccessConditions) string {
		r, err := client.DownloadStream(ctx, &blob.DownloadStreamOptions{AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &m}})
		if err == nil && r.ErrorCode != nil { // how the client shows a 304
			return "304 " + *r.ErrorCode
		}
		return code(err)
	}
	check(t, "If-Match", read(blob.ModifiedAccessConditions{IfMatch: &etag}), "ok")
	check(t, "If-Match of old", read(blob.ModifiedAccessConditions{IfMatch: &old}), "412 ConditionNotMet")
	check(t, "If-None-Match", read(blob.ModifiedAccessConditions{IfNoneMatch: &etag}), "304 ConditionNotMet")
	check(t, "If-None-Match of old", read(blob.ModifiedAccessConditions{IfNoneMatch: &old}), "ok")
	p, err := client.GetProperties(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	later, earlier := p.LastModified.Add(2e9), p.LastModified.Add(-2e9)
	check(t, "If-Modified-Since earlier", read(blob.ModifiedAccessConditions{IfModifiedSince: &earlier}), "ok")
	check(t, "If-Modified-Since later", read(blob.ModifiedAccessConditions{IfModifiedSince: &later}), "304 ConditionNotMet")
	check(t, "If-Unmodified-Since earlier", read(blob.ModifiedAccessConditions{IfUnmodifiedSince: &earlier}), "412 ConditionNotMet")
	check(t, "If-Unmodified-Since later", read(blob.ModifiedAccessConditions{IfUnmodifiedSince: &later}), "ok")

	write := func(name string, m blob.ModifiedAccessConditions) string {
		_, err := c.NewBlockBlobClient(name).Upload(ctx, body("x"), &blockblob.UploadOptions{AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &m}})
		return code(err)
	}
	check(t, "write If-Match of old", write("b", blob.ModifiedAccessConditions{IfMatch: &old}), "412 ConditionNotMet")
	check(t, "write If-Match", write("b", blob.ModifiedAccessConditions{IfMatch: &etag}), "ok")
	check(t, "write If-None-Match *", write("b", blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}), "409 BlobAlreadyExists")
	check(t, "write new If-None-Match *", write("new", blob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}), "ok")
	check(t, "write new If-Match", write("none", blob.ModifiedAccessConditions{IfMatch: &etag}), "412 ConditionNotMet")
}

func metadataScenario(t *testing.T, c *container.Client, _ bool) {
	ctx := t.Context()
	upload(t, c, "b", "", &blockblob.UploadOptions{Metadata: map[string]*string{"sequencenumber": to.Ptr("1"), "offset": to.Ptr("a b")}})
	client := c.NewBlobClient("b")
	get := func() string {
		pager := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{Metadata: true}})
		page, err := pager.NextPage(ctx)
		if err != nil || len(page.Segment.BlobItems) != 1 {
			t.Fatalf("list: %v", err)
		}
		var b strings.Builder
		for _, name := range []string{"sequencenumber", "offset", "ownerid"} {
			if v := page.Segment.BlobItems[0].Metadata[name]; v != nil {
				fmt.Fprintf(&b, "%s=%s ", name, *v)
			}
		}
		return b.String()
	}
	check(t, "metadata", get(), "sequencenumber=1 offset=a b ")
	before, err := client.GetProperties(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := client.SetMetadata(ctx, map[string]*string{"ownerid": to.Ptr("me")}, nil)
	check(t, "set", code(err), "ok")
	check(t, "metadata afterwards", get(), "ownerid=me ")
	if err == nil && *r.ETag == *before.ETag {
		t.Error("new metadata leave the ETag as it was")
	}
	_, err = client.SetMetadata(ctx, nil, &blob.SetMetadataOptions{AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: before.ETag}}})
	check(t, "set with an old ETag", code(err), "412 ConditionNotMet")
	_, err = c.NewBlobClient("none").SetMetadata(ctx, nil, nil)
	check(t, "set on none", code(err), "404 BlobNotFound")
	_, err = client.SetHTTPHeaders(ctx, blob.HTTPHeaders{BlobContentType: to.Ptr("application/json"), BlobContentEncoding: to.Ptr("gzip")}, nil)
	check(t, "set headers", code(err), "ok")
	p, err := client.GetProperties(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "headers", *p.ContentType+" "+*p.ContentEncoding, "application/json gzip")
}

func listScenario(t *testing.T, c *container.Client, _ bool) {
	ctx := t.Context()
	for _, day := range []string{"01", "02"} {
		for hour := range 3 {
			upload(t, c, fmt.Sprintf("resourceId=/A/y=2026/m=03/d=%s/h=%02d/m=00/PT1H.json", day, hour), "x", nil)
		}
	}
	upload(t, c, "resourceId=/B/y=2026/m=03/d=01/h=00/m=00/PT1H.json", "x", nil)
	upload(t, c, "zzz", "x", nil)
	flat := func(o container.ListBlobsFlatOptions) (names []string, pages int) {
		pager := c.NewListBlobsFlatPager(&o)
		for pager.More() {
			page, err := pager.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			pages++
			for _, b := range page.Segment.BlobItems {
				names = append(names, *b.Name)
			}
		}
		return names, pages
	}
	all, _ := flat(container.ListBlobsFlatOptions{})
	check(t, "all", words(len(all), all[0], all[7]), "8 resourceId=/A/y=2026/m=03/d=01/h=00/m=00/PT1H.json zzz")
	paged, pages := flat(container.ListBlobsFlatOptions{MaxResults: to.Ptr[int32](3)})
	check(t, "in pages", fmt.Sprint(pages, strings.Join(paged, " ") == strings.Join(all, " ")), "3 true")
	day, _ := flat(container.ListBlobsFlatOptions{Prefix: to.Ptr("resourceId=/A/y=2026/m=03/d=02/")})
	check(t, "a day", fmt.Sprint(len(day)), "3")
	none, _ := flat(container.ListBlobsFlatOptions{Prefix: to.Ptr("resourceId=/C")})
	check(t, "nothing", fmt.Sprint(len(none)), "0")

	tree := func(prefix string, most int32) (found string) {
		pager := c.NewListBlobsHierarchyPager("/", &container.ListBlobsHierarchyOptions{Prefix: &prefix, MaxResults: &most})
		for pager.More() {
			page, err := pager.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range page.Segment.BlobPrefixes {
				found += *p.Name + " "
			}
			for _, b := range page.Segment.BlobItems {
				found += *b.Name + " "
			}
		}
		return found
	}
	check(t, "top", tree("", 5000), "resourceId=/ zzz ")
	check(t, "resources", tree("resourceId=/", 5000), "resourceId=/A/ resourceId=/B/ ")
	check(t, "days", tree("resourceId=/A/y=2026/m=03/", 1), "resourceId=/A/y=2026/m=03/d=01/ resourceId=/A/y=2026/m=03/d=02/ ")
	check(t, "one blob", tree("resourceId=/B/y=2026/m=03/d=01/h=00/m=00/", 5000), "resourceId=/B/y=2026/m=03/d=01/h=00/m=00/PT1H.json ")

	page, err := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: to.Ptr("zzz")}).NextPage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	head, err := c.NewBlobClient("zzz").GetProperties(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := page.Segment.BlobItems[0].Properties
	check(t, "properties", words(*p.BlobType, *p.ContentLength, p.LastModified.Equal(*head.LastModified), p.CreationTime.Equal(*head.CreationTime),
		strings.Trim(string(*p.ETag), `"`) == strings.Trim(string(*head.ETag), `"`)), "BlockBlob 1 true true true")
}

func leaseScenario(t *testing.T, c *container.Client, _ bool) {
	ctx := t.Context()
	upload(t, c, "b", "x", nil)
	b := c.NewBlockBlobClient("b")
	mine, err := lease.NewBlobClient(b, &lease.BlobClientOptions{LeaseID: to.Ptr("11111111-1111-4111-8111-111111111111")})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := lease.NewBlobClient(b, &lease.BlobClientOptions{LeaseID: to.Ptr("22222222-2222-4222-8222-222222222222")})
	if err != nil {
		t.Fatal(err)
	}
	acquire := func(l *lease.BlobClient, seconds int32) string {
		_, err := l.AcquireLease(ctx, seconds, nil)
		return code(err)
	}
	check(t, "acquire for too short", acquire(mine, 5), "400 InvalidHeaderValue")
	check(t, "acquire", acquire(mine, 60), "ok")
	check(t, "acquire again", acquire(mine, 60), "ok")
	check(t, "acquire another's", acquire(theirs, 60), "409 LeaseAlreadyPresent")
	write := func(id *string) string {
		_, err := b.Upload(ctx, body("y"), &blockblob.UploadOptions{AccessConditions: &blob.AccessConditions{LeaseAccessConditions: &blob.LeaseAccessConditions{LeaseID: id}}})
		return code(err)
	}
	check(t, "write without", write(nil), "412 LeaseIdMissing")
	check(t, "write with another", write(theirs.LeaseID()), "412 LeaseIdMismatchWithBlobOperation")
	check(t, "write with it", write(mine.LeaseID()), "ok")
	text, err := download(t, c, "b", nil)
	check(t, "read without", text+" "+code(err), "y ok")
	p, err := b.GetProperties(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "state", words(*p.LeaseState, *p.LeaseStatus, *p.LeaseDuration), "leased locked fixed")
	_, err = mine.RenewLease(ctx, nil)
	check(t, "renew", code(err), "ok")
	_, err = theirs.RenewLease(ctx, nil)
	check(t, "renew another's", code(err), "409 LeaseIdMismatchWithLeaseOperation")
	_, err = theirs.BreakLease(ctx, &lease.BlobBreakOptions{BreakPeriod: to.Ptr[int32](0)})
	check(t, "break", code(err), "ok")
	_, err = mine.RenewLease(ctx, nil)
	check(t, "renew a broken one", code(err), "409 LeaseIsBrokenAndCannotBeRenewed")
	check(t, "acquire a broken one", acquire(theirs, -1), "ok")
	_, err = theirs.ReleaseLease(ctx, nil)
	check(t, "release", code(err), "ok")
	check(t, "write after release", write(nil), "ok")
	check(t, "write with the old lease", write(mine.LeaseID()), "412 LeaseNotPresentWithBlobOperation")
	missing, err := lease.NewBlobClient(c.NewBlobClient("none"), nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "acquire on none", acquire(missing, 60), "404 BlobNotFound")
}

func containerLeaseScenario(t *testing.T, c *container.Client, _ bool) {
	ctx := t.Context()
	l, err := lease.NewContainerClient(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.AcquireLease(ctx, 30, nil)
	check(t, "acquire", code(err), "ok")
	_, err = c.Delete(ctx, nil)
	check(t, "delete without", code(err), "412 LeaseIdMissing")
	_, err = l.ReleaseLease(ctx, nil)
	check(t, "release", code(err), "ok")
	_, err = c.Delete(ctx, nil)
	check(t, "delete", code(err), "ok")
}

func archiveScenario(t *testing.T, c *container.Client, _ bool) {
	ctx := t.Context()
	upload(t, c, "b", "x", nil)
	_, err := c.NewBlobClient("b").SetTier(ctx, blob.AccessTierArchive, nil)
	check(t, "archive", code(err), "ok")
	_, err = download(t, c, "b", nil)
	check(t, "read", code(err), "409 BlobArchived")
	p, err := c.NewBlobClient("b").GetProperties(ctx, nil)
	check(t, "head", code(err), "ok")
	check(t, "tier", *p.AccessTier, "Archive")
	_, err = c.NewBlobClient("b").SetTier(ctx, blob.AccessTierHot, nil)
	check(t, "bring back", code(err), "ok")
}

func copyScenario(t *testing.T, c *container.Client, _ bool) {
	ctx := t.Context()
	upload(t, c, "b", "content", nil)
	_, err := c.NewBlobClient("copy").StartCopyFromURL(ctx, c.NewBlobClient("b").URL(), nil)
	check(t, "copy", code(err), "ok")
	upload(t, c, "b", "other", nil)
	text, err := download(t, c, "copy", nil)
	check(t, "content", text+" "+code(err), "content ok")
}

// namesScenario shows that any name survives URL, signature and XML.
func namesScenario(t *testing.T, c *container.Client, _ bool) {
	ctx := t.Context()
	names := []string{
		"resourceId=/SUBSCRIPTIONS/A/y=2026/m=01/PT1H.json", "with blank.json", "a+b&c=d.json", "50%.json", "ünïcödé/日本.json",
		"q?x=1#f", "semi;colon,comma'quote", "host:5672/hub/$Default/checkpoint/0", "trailing/",
	}
	for _, name := range names {
		upload(t, c, name, name, nil)
		text, err := download(t, c, name, nil)
		check(t, "content of "+name, text+" "+code(err), name+" ok")
	}
	found := map[string]bool{}
	pager := c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{MaxResults: to.Ptr[int32](2)})
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page.Segment.BlobItems {
			found[*b.Name] = true
		}
	}
	for _, name := range names {
		if !found[name] {
			t.Errorf("the listing lacks %q", name)
		}
	}
}

func serviceScenario(t *testing.T, c *service.Client) {
	ctx := t.Context()
	for _, name := range []string{"insights-logs-a", "insights-logs-b", "other"} {
		if _, err := c.CreateContainer(ctx, name, nil); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	pager := c.NewListContainersPager(&service.ListContainersOptions{Prefix: to.Ptr("insights-logs-"), MaxResults: to.Ptr[int32](1)})
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.ContainerItems {
			names = append(names, *item.Name)
		}
	}
	check(t, "containers", strings.Join(names, " "), "insights-logs-a insights-logs-b")
	_, err := c.GetProperties(ctx, nil)
	check(t, "service properties", code(err), "ok")
	_, err = c.GetAccountInfo(ctx, nil)
	check(t, "account information", code(err), "ok")
	_, err = c.CreateContainer(ctx, "Not-Valid", nil)
	check(t, "bad name", code(err), "400 InvalidResourceName")
}
