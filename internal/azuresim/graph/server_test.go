package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// fixture is a server with a clock that the test turns.
type fixture struct {
	*Server
	t     *testing.T
	clock time.Time
	roles []string
	token error
}

func newFixture(t *testing.T, options Options) *fixture {
	f := &fixture{t: t, clock: noon, roles: Roles()}
	options.Now = func() time.Time { return f.clock }
	options.Verify = func(string) (Caller, error) { return Caller{App: "app", Roles: f.roles}, f.token }
	f.Server = New(options)
	return f
}

// response is an answer as a client sees it.
type response struct {
	status int
	header http.Header
	Value  []struct {
		ID     string           `json:"id"`
		Alerts []map[string]any `json:"alerts"`
	} `json:"value"`
	Next  string `json:"@odata.nextLink"`
	Count *int   `json:"@odata.count"`
	Error struct{ Code, Message string }
}

func (f *fixture) get(target string) response {
	f.t.Helper()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = "graph.microsoft.com"
	r.Header.Set("Authorization", "Bearer x")
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	got := response{status: w.Code, header: w.Header()}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		f.t.Fatalf("GET %s: %v in %s", target, err, w.Body)
	}
	return got
}

// all follows nextLinks and returns the ids, and how many pages there were.
func (f *fixture) all(target string) (ids []string, pages int) {
	f.t.Helper()
	for target != "" {
		got := f.get(target)
		if got.status != http.StatusOK {
			f.t.Fatalf("GET %s: %d %+v", target, got.status, got.Error)
		}
		pages++
		for _, o := range got.Value {
			ids = append(ids, o.ID)
		}
		target = got.Next
	}
	return ids, pages
}

func link(path string, options ...string) string {
	q := url.Values{}
	for i := 0; i < len(options); i += 2 {
		q.Set(options[i], options[i+1])
	}
	if len(q) == 0 {
		return "/" + path
	}
	return "/" + path + "?" + q.Encode()
}

func (f *fixture) put(path, id string, members ...string) {
	f.t.Helper()
	object := map[string]any{"id": id}
	for i := 0; i < len(members); i += 2 {
		object[members[i]] = members[i+1]
	}
	raw, err := json.Marshal(object)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.Put(path, raw); err != nil {
		f.t.Fatal(err)
	}
}

const audits, alerts = "auditLogs/directoryAudits", "security/alerts_v2"

func (f *fixture) audits(n int) (ids []string) {
	for i := range n {
		id := fmt.Sprintf("audit-%02d", i)
		f.put(audits, id, "activityDateTime", noon.Add(time.Duration(i-n)*time.Minute).Format(time.RFC3339), "activityDisplayName", []string{"Add user", "Delete user"}[i%2], "category", "UserManagement")
		ids = append(ids, id)
	}
	return ids
}

func TestFilters(t *testing.T) {
	f := newFixture(t, Options{Unlimited: true})
	f.audits(10) // at 11:50 to 11:59
	f.put("auditLogs/signIns", "present", "createdDateTime", "2026-03-04T11:00:00Z", "userPrincipalName", "o'hara@contoso.example")
	if err := f.Put("auditLogs/signIns", []byte(`{"id":"absent","createdDateTime":"2026-03-04T11:00:00Z","signInEventTypes":["nonInteractiveUser"]}`)); err != nil {
		t.Fatal(err)
	}
	f.put("auditLogs/provisioning", "p", "activityDateTime", "2026-03-04T11:00:00Z", "jobId", "workday.1")
	f.put("identityProtection/riskyUsers", "u", "riskLastUpdatedDateTime", "2026-03-04T11:00:00Z", "riskState", "atRisk")
	for _, tc := range []struct {
		path, filter string
		want         []string // nil: refused
	}{
		{"v1.0/" + audits, "activityDateTime ge 2026-03-04T11:57:00Z", []string{"audit-09", "audit-08", "audit-07"}},
		{"v1.0/" + audits, "activityDateTime ge 2026-03-04T11:51:00Z and activityDateTime le 2026-03-04T11:52:59.9999999Z", []string{"audit-02", "audit-01"}},
		{"v1.0/" + audits, "activityDateTime gt 2026-03-04T11:51:00Z and activityDateTime lt 2026-03-04T11:53:00Z", []string{"audit-02"}},
		{"v1.0/" + audits, "activityDateTime eq 2026-03-04T12:51:00+01:00", []string{"audit-01"}},
		{"v1.0/" + audits, "startswith(activityDisplayName,'Delete') and activityDateTime lt 2026-03-04T11:53:00Z", []string{"audit-01"}},
		{"v1.0/" + audits, "(activityDisplayName eq 'Add user' or activityDisplayName eq 'x') and activityDateTime lt 2026-03-04T11:51:00Z", []string{"audit-00"}},
		{"beta/" + audits, "id eq 'audit-04'", []string{"audit-04"}},
		{"v1.0/" + audits, "initiatedBy eq 'x'", nil},
		{"v1.0/" + audits, "activityDateTime ge '2026-03-04T11:57:00Z'", nil},
		{"v1.0/" + audits, "activityDateTime ne 2026-03-04T11:57:00Z", nil},
		{"v1.0/" + audits, "activityDateTime ge 2026-03-04T11:57:00Z and", nil},
		{"v1.0/" + audits, "id eq 'x", nil},
		{"v1.0/" + audits, "id eq 'x' id", nil},
		{"v1.0/" + audits, "contains(id,'x')", nil},
		{"v1.0/auditLogs/signIns", "userPrincipalName eq 'o''hara@contoso.example'", []string{"present"}},
		{"v1.0/auditlogs/signins", "createdDateTime ge 2026-03-04T10:00:00Z", []string{"present"}},
		{"beta/auditLogs/signIns", "createdDateTime ge 2026-03-04T10:00:00Z", []string{"present"}},
		{"beta/auditLogs/signIns", "createdDateTime ge 2026-03-04T10:00:00Z and signInEventTypes/any(t: t eq 'nonInteractiveUser')", []string{"absent"}},
		{"v1.0/auditLogs/signIns", "signInEventTypes/any(t: t eq 'nonInteractiveUser')", nil},
		{"beta/auditLogs/signIns", "signInEventTypes/any(t: x eq 'nonInteractiveUser')", nil},
		{"v1.0/auditLogs/provisioning", "activityDateTime gt 2026-03-04T10:00:00Z and activityDateTime lt 2026-03-04T12:00:00Z", []string{"p"}},
		{"v1.0/auditLogs/provisioning", "contains(jobId,'workday')", []string{"p"}},
		{"v1.0/auditLogs/provisioning", "activityDateTime ge 2026-03-04T10:00:00Z", nil},
		{"v1.0/identityProtection/riskyUsers", "riskState eq microsoft.graph.riskState'atRisk'", []string{"u"}},
	} {
		got := f.get(link(tc.path, "$filter", tc.filter))
		var ids []string
		for _, o := range got.Value {
			ids = append(ids, o.ID)
		}
		want := http.StatusOK
		if tc.want == nil {
			want = http.StatusBadRequest
		}
		if got.status != want || !slices.Equal(ids, tc.want) || tc.want == nil && got.Error.Code != "BadRequest" {
			t.Errorf("%s with %s: %d %q %+v, want %q", tc.path, tc.filter, got.status, ids, got.Error, tc.want)
		}
	}
}

func TestPaging(t *testing.T) {
	f := newFixture(t, Options{Unlimited: true})
	want := f.audits(10)
	oldestFirst := link("v1.0/"+audits, "$top", "3", "$orderby", "activityDateTime asc")
	if ids, pages := f.all(oldestFirst); !slices.Equal(ids, want) || pages != 4 {
		t.Errorf("oldest first: %q in %d pages", ids, pages)
	}
	f.Faults.LinksLast(true)
	ids, _ := f.all(link("v1.0/"+audits, "$top", "4"))
	slices.Reverse(ids)
	if !slices.Equal(ids, want) {
		t.Errorf("newest first: %q", ids)
	}
	f.Faults.Repeat(2)
	if ids, _ := f.all(oldestFirst); len(ids) != 10+3*2 || ids[3] != want[1] {
		t.Errorf("with repeats: %q", ids)
	}
	for _, bad := range []string{"$top=0", "$top=1001", "$top=x", "$skip=1", "$skiptoken=x", "$select=id", "$orderby=id", "$orderby=activityDateTime+up", "$count=true"} {
		if got := f.get("/v1.0/" + audits + "?" + bad); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, got.status)
		}
	}
}

// What is inserted behind the place a token stands at is found; an offset counts
// what has arrived since.
func TestPagesShift(t *testing.T) {
	f := newFixture(t, Options{Unlimited: true})
	for i := range 4 {
		f.put(alerts, fmt.Sprint("a", i), "createdDateTime", noon.Add(-time.Duration(i)*time.Hour).Format(time.RFC3339), "lastUpdateDateTime", noon.Format(time.RFC3339), "incidentId", "7")
	}
	first := f.get(link("v1.0/"+alerts, "$top", "2", "$count", "true"))
	if first.Count == nil || *first.Count != 4 || !strings.Contains(first.Next, "skip=2") {
		t.Fatalf("first page: %+v", first)
	}
	f.put(alerts, "new", "createdDateTime", noon.Format(time.RFC3339), "lastUpdateDateTime", noon.Format(time.RFC3339))
	if second := f.get(first.Next); second.Value[0].ID != "a1" {
		t.Errorf("the second page begins with %s, want a1 again", second.Value[0].ID)
	}
	f.put("security/incidents", "7", "createdDateTime", noon.Format(time.RFC3339), "lastUpdateDateTime", noon.Format(time.RFC3339))
	if got := f.get(link("v1.0/security/incidents", "$expand", "alerts")); len(got.Value) != 1 || len(got.Value[0].Alerts) != 4 {
		t.Errorf("incident with alerts: %+v", got)
	}
}

func TestUpdatesTakeANewPlace(t *testing.T) {
	f := newFixture(t, Options{Unlimited: true})
	f.put(alerts, "a", "createdDateTime", "2026-03-01T00:00:00Z", "lastUpdateDateTime", "2026-03-01T00:00:00Z", "status", "new")
	if err := f.Update(alerts, "a", map[string]string{"status": "resolved", "lastUpdateDateTime": "2026-03-04T11:00:00Z"}); err != nil {
		t.Fatal(err)
	}
	if ids, _ := f.all(link("v1.0/"+alerts, "$filter", "lastUpdateDateTime ge 2026-03-04T00:00:00Z and status eq 'resolved'")); !slices.Equal(ids, []string{"a"}) {
		t.Errorf("updated: %q", ids)
	}
	if ids, _ := f.all(link("v1.0/"+alerts, "$filter", "lastUpdateDateTime lt 2026-03-04T00:00:00Z")); len(ids) != 0 {
		t.Errorf("the old version is still there: %q", ids)
	}
	if err := f.Update(alerts, "b", nil); err == nil {
		t.Error("an object that is not there was updated")
	}
}

func TestRefusals(t *testing.T) {
	const path = "/v1.0/auditLogs/signIns"
	for _, tc := range []struct {
		name, target string
		change       func(*fixture)
		status       int
		code, text   string
	}{
		{"no such collection", "/v1.0/users", nil, 400, "BadRequest", "users"},
		{"no such version", "/v2.0/auditLogs/signIns", nil, 400, "BadRequest", "signIns"},
		{"expired token", path, func(f *fixture) { f.token = fmt.Errorf("verify: %w", jwt.ErrTokenExpired) }, 401, "InvalidAuthenticationToken", "expired"},
		{"other audience", path, func(f *fixture) { f.token = errors.New("no") }, 401, "InvalidAuthenticationToken", "audience"},
		{"no role for reports", path, func(f *fixture) { f.roles = nil }, 403, "Authentication_MSGraphPermissionMissing", "AuditLog.Read.All"},
		{"no role for risk", "/v1.0/identityProtection/riskyUsers", func(f *fixture) { f.roles = nil }, 403, "Authorization_RequestDenied", "privileges"},
		{"no role for alerts", "/v1.0/" + alerts, func(f *fixture) { f.roles = []string{"User.Read.All"} }, 403, "Forbidden", "SecurityAlert.Read.All"},
		{"no license for reports", path, func(f *fixture) { f.Faults.Unlicensed(true) }, 403, "Authentication_RequestFromNonPremiumTenantOrB2CTenant", "license"},
		{"no license for risk", "/v1.0/identityProtection/riskyUsers", func(f *fixture) { f.Faults.Unlicensed(true) }, 403, "Forbidden", "licensed"},
		{"fault", path, func(f *fixture) { f.Faults.Fail(1, 503, 0, false) }, 503, "UnknownError", ""},
		{"throttled on demand", path, func(f *fixture) { f.Faults.Fail(1, 429, 7*time.Second, false) }, 429, "TooManyRequests", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFixture(t, Options{})
			if tc.change != nil {
				tc.change(f)
			}
			got := f.get(tc.target)
			if got.status != tc.status || got.Error.Code != tc.code || !strings.Contains(got.Error.Message, tc.text) {
				t.Errorf("%d %+v, want %d %s with %q", got.status, got.Error, tc.status, tc.code, tc.text)
			}
			if tc.status == 429 && got.header.Get("Retry-After") != "7" {
				t.Errorf("Retry-After is %q", got.header.Get("Retry-After"))
			}
		})
	}
	f := newFixture(t, Options{})
	f.Faults.Unlicensed(true)
	if got := f.get("/v1.0/" + audits); got.status != http.StatusOK {
		t.Errorf("audits without a license: %d", got.status)
	}
}

func TestLimits(t *testing.T) {
	f := newFixture(t, Options{})
	for path, want := range map[string]int{"auditLogs/signIns": 5, "identityProtection/riskyUsers": 1, alerts: 150} {
		passed := 0
		var refused response
		for range 200 {
			if got := f.get("/v1.0/" + path); got.status == http.StatusOK {
				passed++
			} else {
				refused = got
			}
		}
		after := refused.header.Get("Retry-After")
		if passed != want || refused.status != 429 || (after == "") != (want == 1) {
			t.Errorf("%s: %d passed, want %d; then %d, Retry-After %q", path, passed, want, refused.status, after)
		}
	}
	// All reports share a limit.
	if got := f.get("/v1.0/" + audits); got.status != 429 {
		t.Errorf("audits after too many sign-ins: %d", got.status)
	}
	f.clock = f.clock.Add(10 * time.Second)
	if got := f.get("/v1.0/" + audits); got.status != http.StatusOK {
		t.Errorf("audits 10 s later: %d", got.status)
	}
}

func TestFaultsOfAnswers(t *testing.T) {
	f := newFixture(t, Options{Unlimited: true})
	f.audits(10)
	page := link("v1.0/"+audits, "$top", "3")
	f.Faults.Loop(1)
	first := f.get(page)
	again := f.get(first.Next)
	if diff := cmp.Diff(first.Value, again.Value); diff != "" {
		t.Errorf("a loop leads elsewhere:\n%s", diff)
	}
	f.Faults.Foreign(1, "evil.example")
	if got := f.get(page); !strings.HasPrefix(got.Next, "https://evil.example/v1.0/") {
		t.Errorf("nextLink %q", got.Next)
	}
	f.Faults.ExpireTokens(1)
	if got := f.get(again.Next); got.status != http.StatusBadRequest {
		t.Errorf("an expired token: %d", got.status)
	}
	f.Faults.Fail(1, 500, 0, true)
	if got := f.get(page); got.status != http.StatusOK {
		t.Errorf("the first page: %d", got.status)
	}
	if got := f.get(again.Next); got.status != http.StatusInternalServerError {
		t.Errorf("the second page: %d", got.status)
	}
	f.Faults.Cut(1)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the answer was not cut")
			}
		}()
		f.get(page)
	}()
	f.Faults.Cut(5)
	f.Faults.Clear()
	if got := f.get(page); got.status != http.StatusOK {
		t.Errorf("after Clear: %d", got.status)
	}
}

func TestArrivalAndRetention(t *testing.T) {
	f := newFixture(t, Options{Unlimited: true, Retention: 7 * day})
	f.Faults.Late(2, 10*time.Minute)
	f.audits(4)
	if ids, _ := f.all("/v1.0/" + audits); !slices.Equal(ids, []string{"audit-02", "audit-00"}) {
		t.Errorf("at first: %q", ids)
	}
	f.clock = f.clock.Add(10 * time.Minute)
	if ids, _ := f.all("/v1.0/" + audits); len(ids) != 4 {
		t.Errorf("later: %q", ids)
	}
	f.clock = noon.Add(7 * day).Add(-2 * time.Minute)
	if ids, _ := f.all("/v1.0/" + audits); !slices.Equal(ids, []string{"audit-03", "audit-02"}) {
		t.Errorf("a week later: %q", ids)
	}
	small := newFixture(t, Options{Unlimited: true, KeepBytes: 300})
	small.audits(10)
	if n := small.Count(audits); n == 0 || n > 3 {
		t.Errorf("%d objects are kept in 300 bytes", n)
	}
}

func TestRecordsBecomeObjects(t *testing.T) {
	f := newFixture(t, Options{Unlimited: true})
	record := []byte(`{"time":"2026-03-04T11:59:00.0000000Z","category":"NonInteractiveUserSignInLogs","properties":{"id":"s1","createdDateTime":"2026-03-04T11:58:07.1234567+00:00","n":9007199254740993,"x":"é\u00e9","status":{"errorCode":0}}}`)
	if err := f.Add("NonInteractiveUserSignInLogs", record); err != nil {
		t.Fatal(err)
	}
	want := `{"id":"s1","createdDateTime":"2026-03-04T11:58:07Z","n":9007199254740993,"x":"é\u00e9","status":{"errorCode":0},"signInEventTypes":["nonInteractiveUser"]}`
	if got := string(f.Get("auditLogs/signIns", "s1")); got != want {
		t.Errorf("object:\n%s\nwant\n%s", got, want)
	}
	if err := f.Add("AuditLogs", []byte(`{"properties":{"id":"d1","activityDateTime":"2026-03-04T11:58:07.12+00:00"}}`)); err != nil {
		t.Fatal(err)
	}
	if got, want := string(f.Get(audits, "d1")), `{"id":"d1","activityDateTime":"2026-03-04T11:58:07.12Z"}`; got != want {
		t.Errorf("object: %s, want %s", got, want)
	}
	if Has("Administrative") || f.Add("Administrative", record) == nil {
		t.Error("Graph has activity logs")
	}
	for _, bad := range []string{`{`, `{"properties":3}`, `{"properties":{"activityDateTime":"x","id":"1"}}`, `{"properties":{"activityDateTime":"2026-03-04T11:58:07Z"}}`} {
		if err := f.Add("AuditLogs", []byte(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestRiskHasConsequences(t *testing.T) {
	f := newFixture(t, Options{Unlimited: true})
	for i := range 6 {
		record := fmt.Appendf(nil, `{"properties":{"id":"r%d","userId":"u%d","userDisplayName":"A \"B\"","riskLevel":"high","riskEventType":"unlikelyTravel","activityDateTime":"2026-03-04T11:00:00.000Z","detectedDateTime":"2026-03-04T11:00:00.000Z","lastUpdatedDateTime":"2026-03-04T11:0%d:00.000Z"}}`, i, i%2, i)
		if err := f.Add("UserRiskEvents", record); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]int{"identityProtection/riskDetections": 6, "identityProtection/riskyUsers": 2, alerts: 6, "security/incidents": 2} {
		ids, _ := f.all("/v1.0/" + path)
		if len(ids) != want {
			t.Errorf("%s has %d objects, want %d", path, len(ids), want)
		}
	}
	if err := f.Add("ServicePrincipalRiskEvents", []byte(`{"properties":{"id":"p","servicePrincipalId":"sp","riskLevel":"high","riskState":"atRisk","activityDateTime":"2026-03-04T11:00:00Z","detectedDateTime":"2026-03-04T11:00:00Z","lastUpdatedDateTime":"2026-03-04T11:00:00Z"}}`)); err != nil {
		t.Fatal(err)
	}
	if ids, _ := f.all("/v1.0/identityProtection/riskyServicePrincipals"); !slices.Equal(ids, []string{"sp"}) {
		t.Errorf("risky service principals: %q", ids)
	}
	if Has("RiskyUsers") {
		t.Error("the states of users are taken for records")
	}
	if ids, _ := f.all(link("v1.0/"+alerts, "$filter", "status eq 'resolved'")); len(ids) != 2 {
		t.Errorf("%d alerts are resolved, want 2", len(ids))
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("activityDateTime ge 2026-03-04T11:57:00Z and startswith(id,'a''b') or (x/any(t: t eq 'y'))")
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range resources() {
			if where, err := parseFilter(r, text); err == nil {
				where(&object{raw: []byte(`{}`), times: make([]int64, len(r.times))})
			}
		}
	})
}
