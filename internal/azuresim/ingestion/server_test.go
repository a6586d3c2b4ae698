package ingestion

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/monitor/ingestion/azlogs"
)

const rule = "dcr-00000000000000000000000000000001"

type anyToken struct{}

func (anyToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "good", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

var start = time.Date(2026, 1, 2, 12, 0, 10, 0, time.UTC)

// open returns a server and Microsoft's own client for it.
func open(t *testing.T, change func(*Options)) (*Server, *azlogs.Client) {
	t.Helper()
	options := Options{
		Rules: []Rule{{ID: rule, Streams: []Stream{{Name: "Custom-A_CL", Table: "A_CL"}, {Name: "Custom-B_CL", Table: "B_CL", Auxiliary: true}}}},
		VerifyToken: func(token string) error {
			if token != "good" {
				return errors.New("bad")
			}
			return nil
		},
		KeepBytes: -1, Now: func() time.Time { return start },
	}
	if change != nil {
		change(&options)
	}
	s := New(options)
	listener := httptest.NewTLSServer(s)
	t.Cleanup(listener.Close)
	client, err := azlogs.NewClient(listener.URL, anyToken{}, &azlogs.ClientOptions{ClientOptions: policy.ClientOptions{
		Transport: listener.Client(), Retry: policy.RetryOptions{MaxRetries: -1},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s, client
}

func zip(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// filled is a call of exactly that many bytes.
func filled(size int) []byte {
	frame := `[{"TimeGenerated":"2026-01-02T12:00:00Z","A":""}]`
	return []byte(strings.Replace(frame, `"A":"`, `"A":"`+strings.Repeat("x", size-len(frame)), 1))
}

func TestMicrosoftsClient(t *testing.T) {
	const good = `[{"TimeGenerated":"2026-01-02T11:59:00Z","A":1},{"TimeGenerated":"2026-01-02T11:20:00Z","A":2}]`
	for _, tc := range []struct {
		name         string
		rule, stream string
		body         []byte
		gzip         bool
		change       func(*Options)
		fault        func(*Faults)
		status       int // 0: success
		code         string
		rows         int
	}{
		{name: "accepted", body: []byte(good), rows: 2},
		{name: "gzip", body: []byte(good), gzip: true, rows: 2},
		{name: "empty array", body: []byte(`[]`)},
		{name: "exactly the limit", body: filled(MaxCall), rows: 1},
		{name: "exactly the limit, gzip", body: filled(MaxCall), gzip: true, rows: 1},
		{name: "a byte over the limit", body: filled(MaxCall + 1), status: 413, code: "ContentLengthLimitExceeded"},
		{name: "a byte over the limit, gzip", body: filled(MaxCall + 1), gzip: true, status: 413, code: "ContentLengthLimitExceeded"},
		{name: "empty body", status: 500, code: "InternalServerError"},
		{name: "an object", body: []byte(`{"A":1}`), status: 400, code: "InvalidRequestBody"},
		{name: "not JSON", body: []byte(`[{"A":1}`), status: 400, code: "InvalidRequestBody"},
		{name: "a record that is no object", body: []byte(`[{"A":1},2]`), status: 400, code: "InvalidRequestBody"},
		{name: "a time that is none", body: []byte(`[{"TimeGenerated":"soon"}]`), status: 400, code: "InvalidRequestBody"},
		{name: "unknown rule", rule: "dcr-1", body: []byte(good), status: 404, code: "NotFound"},
		{name: "unknown stream", stream: "Custom-C_CL", body: []byte(good), status: 400, code: "InvalidStream"},
		{name: "auxiliary, over 30 minutes", stream: "Custom-B_CL", body: []byte(good), status: 400, code: "RecordsTimeRangeIsMoreThan30Minutes"},
		{name: "auxiliary, 30 minutes", stream: "Custom-B_CL", body: []byte(strings.Replace(good, "11:20", "11:29", 1)), rows: 2},
		{name: "no role", body: []byte(good), fault: func(f *Faults) { f.Deny(true) }, status: 403, code: "OperationFailed"},
		{name: "throttled", body: []byte(good), fault: func(f *Faults) { f.Fail(1, 429, time.Minute) }, status: 429, code: "Too Many Requests"},
		{name: "too much in a minute", body: []byte(good), change: func(o *Options) { o.BytesPerMinute = 50 }, status: 429, code: "TooManyRequests"},
		{name: "too large for once", body: []byte(good), fault: func(f *Faults) { f.TooLarge(1, 90) }, status: 413, code: "Request Entity Too Large"},
		{name: "too large for once, gzip", body: []byte(good), gzip: true, fault: func(f *Faults) { f.TooLarge(1, 90) }, status: 413, code: "Request Entity Too Large"},
		{name: "not too large", body: []byte(good), gzip: true, fault: func(f *Faults) { f.TooLarge(1, len(good)) }, rows: 2},
		{name: "a record refused", body: []byte(good), fault: func(f *Faults) { f.Refuse(`"A":2`) }, status: 400, code: "InvalidRequestBody"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, client := open(t, tc.change)
			if tc.fault != nil {
				tc.fault(&s.Faults)
			}
			options := &azlogs.UploadOptions{}
			body := tc.body
			if tc.gzip {
				options.ContentEncoding, body = to.Ptr("gzip"), zip(t, body)
			}
			id, stream := rule, "Custom-A_CL"
			if tc.rule != "" {
				id = tc.rule
			}
			if tc.stream != "" {
				stream = tc.stream
			}
			_, err := client.Upload(t.Context(), id, stream, body, options)
			var refused *azcore.ResponseError
			switch {
			case tc.status == 0 && err != nil:
				t.Fatalf("Upload() = %v", err)
			case tc.status != 0 && (!errors.As(err, &refused) || refused.StatusCode != tc.status || refused.ErrorCode != tc.code):
				t.Fatalf("Upload() = %v; want %d %s", err, tc.status, tc.code)
			}
			if rows := s.Rows(""); len(rows) != tc.rows {
				t.Errorf("%d rows are kept, want %d", len(rows), tc.rows)
			}
			totals := s.Totals()
			if tc.status == 0 && totals.Accepted != 1 {
				t.Errorf("totals are %+v; want one accepted call", totals)
			}
		})
	}
}

func TestRowsAreAsTheTableShowsThem(t *testing.T) {
	var arrived []string
	s, client := open(t, func(o *Options) { o.Arrived = func(record []byte) { arrived = append(arrived, string(record)) } })
	long := strings.Repeat("x", MaxField+1)
	records := []map[string]string{
		{"TimeGenerated": "2026-01-02T11:00:00Z", "A": "fits"},
		{"TimeGenerated": "2025-12-30T11:00:00Z", "A": "too old"},
		{"TimeGenerated": "2026-01-04T12:00:00Z", "A": "too new"},
		{"A": "no time"},
		{"TimeGenerated": "2026-01-02T11:00:00Z", "A": long},
	}
	body, err := json.Marshal(records)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Upload(t.Context(), rule, "Custom-A_CL", body, nil); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range s.Rows("A_CL") {
		got = append(got, r.TimeGenerated.UTC().Format("02T15"))
	}
	if want := "[02T11 02T12 02T12 02T12 02T11]"; fmt.Sprint(got) != want {
		t.Errorf("times are %v, want %s", got, want)
	}
	if n := s.Totals(); n.Restamped != 2 || n.Truncated != 1 {
		t.Errorf("totals are %+v; want 2 new times and 1 field cut", n)
	}
	if n := len(s.Rows("A_CL")[4].Data); n > MaxField+100 {
		t.Errorf("the long field was kept: %d bytes", n)
	}
	if len(arrived) != 5 || !strings.Contains(arrived[4], long) {
		t.Errorf("%d records arrived; want 5, as sent", len(arrived))
	}
}

func TestLimitsAreByTheMinute(t *testing.T) {
	now := start
	s, client := open(t, func(o *Options) { o.CallsPerMinute, o.Now = 2, func() time.Time { return now } })
	upload := func() error {
		_, err := client.Upload(t.Context(), rule, "Custom-A_CL", []byte(`[{"A":1}]`), nil)
		return err
	}
	for i := range 3 {
		if err := upload(); (err == nil) != (i < 2) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	now = now.Add(50 * time.Second)
	if err := upload(); err != nil {
		t.Errorf("a call in the next minute: %v", err)
	}
	if n := s.Totals(); n.Accepted != 3 || n.Refused["TooManyRequests"] != 1 {
		t.Errorf("totals are %+v", n)
	}
}

func TestTokensAndPaths(t *testing.T) {
	s, _ := open(t, nil)
	for _, tc := range []struct {
		method, path, token string
		status              int
	}{
		{"POST", rule + "/streams/Custom-A_CL?api-version=2023-01-01", "", 401},
		{"POST", rule + "/streams/Custom-A_CL?api-version=2023-01-01", "Bearer wrong", 401},
		{"POST", rule + "/streams/Custom-A_CL?api-version=2023-01-01", "Bearer good", 204},
		{"POST", rule + "/streams/Custom-A_CL?api-version=2020-01-01", "Bearer good", 400},
		{"GET", rule + "/streams/Custom-A_CL?api-version=2023-01-01", "Bearer good", 405},
		{"POST", rule, "Bearer good", 404},
	} {
		r := httptest.NewRequest(tc.method, Path+tc.path, strings.NewReader(`[]`))
		r.Header.Set("Authorization", tc.token)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != tc.status {
			t.Errorf("%s %s with %q: %d, want %d", tc.method, tc.path, tc.token, w.Code, tc.status)
		}
	}
}

func TestCutKeepsWhatWasSent(t *testing.T) {
	s, client := open(t, nil)
	s.Faults.Cut(1)
	if _, err := client.Upload(t.Context(), rule, "Custom-A_CL", []byte(`[{"A":1}]`), nil); err == nil {
		t.Error("Upload() = nil over a cut connection")
	}
	if n := len(s.Rows("A_CL")); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
	release := s.Faults.Hang()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := client.Upload(ctx, rule, "Custom-A_CL", []byte(`[{"A":1}]`), nil); err == nil {
		t.Error("Upload() = nil while the server hangs")
	}
	release()
	if _, err := client.Upload(t.Context(), rule, "Custom-A_CL", []byte(`[{"A":1}]`), nil); err != nil {
		t.Errorf("Upload() after the hang = %v", err)
	}
}

func TestRowsAreBounded(t *testing.T) {
	s, client := open(t, func(o *Options) { o.KeepBytes = 100 })
	for range 5 {
		if _, err := client.Upload(t.Context(), rule, "Custom-A_CL", []byte(`[{"A":"`+strings.Repeat("x", 40)+`"}]`), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.Rows("")); n != 2 {
		t.Errorf("%d rows of 48 bytes are kept of 100 bytes, want 2", n)
	}
	if n := s.Totals().Rows["A_CL"]; n != 5 {
		t.Errorf("counted %d rows, want 5", n)
	}
	var _ http.Handler = s
}
