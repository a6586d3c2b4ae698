package storage

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/lazuli-logs/lazuli/internal/azure"
	"github.com/lazuli-logs/lazuli/internal/config"
)

// Config is the containers of one storage account as the user describes them.
type Config struct {
	Account          string          `yaml:"account" doc:"The storage account: its name, or its blob endpoint as a URL." example:"contosologs"`
	Tenant           string          `yaml:"tenant" doc:"Tenant whose credential reads the account." example:"contoso"`
	ConnectionString config.Secret   `yaml:"connection_string" doc:"Connection string, with a key or a SAS, instead of account and a credential." example:"${env:STORAGE}"`
	AccountKey       config.Secret   `yaml:"account_key" doc:"Key of the account, with account." example:"${env:STORAGE_KEY}"`
	SAS              config.Secret   `yaml:"sas" doc:"Shared access signature with the permissions read and list, of the account or of one container, with account." example:"${env:STORAGE_SAS}"`
	Containers       []string        `yaml:"containers" required:"true" doc:"Containers by name; * stands for any characters. A name without * needs no permission on the account." example:"[\"insights-logs-*\", insights-activity-logs]"`
	Prefix           string          `yaml:"prefix" doc:"Only blobs whose name begins with this." example:"resourceId=/SUBSCRIPTIONS/"`
	Suffix           string          `yaml:"suffix" doc:"Only blobs whose name ends with this." example:".json"`
	Format           string          `yaml:"format" doc:"How records stand in the blobs: ndjson, one on each line; json, objects alone, in an array or in {\"records\":[...]}; text, a line each; csv, with a header. auto looks at each blob. Gzip is always recognized." enum:"auto|ndjson|json|text|csv"`
	Layout           string          `yaml:"layout" doc:"How blobs are named: dated, in .../y=/m=/d=/h=/, so that only new hours are listed; flat, any other, so that all of the container is listed each time. auto looks at each container." enum:"auto|dated|flat"`
	Start            string          `yaml:"start" doc:"Where to begin where there is no checkpoint yet: earliest, latest, or an RFC 3339 time. Dated blobs count by their hour, others by when they were last changed; a blob is read whole." example:"2026-01-31T00:00:00Z"`
	LookBack         config.Duration `yaml:"look_back" doc:"For how long after its hour, or its last change, a blob may still grow. Until then it is looked at, less and less often, and its checkpoint is kept; what is written later is not read."`
	Poll             config.Duration `yaml:"poll" doc:"How often to look for what is new in the current hour."`
	Discover         config.Duration `yaml:"discover" doc:"How often to look for new containers and resources."`
	Settle           config.Duration `yaml:"settle" doc:"After how long without a change the last record of a blob is taken as it is, though nothing says that it is whole."`
	MaxRecord        config.Size     `yaml:"max_record" doc:"Most bytes of a record; a larger one goes to the dead letters in pieces."`
	Workers          int             `yaml:"workers" min:"1" max:"256" doc:"How many blobs are downloaded at a time; each takes about 2 MiB, or twice its largest record."`
	MaxOpen          int             `yaml:"max_open" min:"1" max:"100000" doc:"How many blobs may have records on their way at a time."`
	Notifications    string          `yaml:"notifications" doc:"none, or queue: Event Grid announces new blobs in a storage queue, and listing is only a slow safety net." enum:"none|queue"`
	Queue            Queue           `yaml:"queue" doc:"The storage queue, for notifications: queue."`
	CAFile           config.Path     `yaml:"ca_file" doc:"PEM file of certificate authorities trusted beside the system's; empty means the tenant's." example:"/etc/lazuli/ca.pem"`
	Proxy            string          `yaml:"proxy" doc:"HTTP proxy; empty means the tenant's, else the environment's HTTPS_PROXY and NO_PROXY." example:"http://proxy.contoso.com:3128"`
}

// Queue is where Event Grid puts its notices.
type Queue struct {
	Name             string          `yaml:"name" doc:"Name of the queue." example:"lazuli-notices"`
	Account          string          `yaml:"account" doc:"Storage account of the queue, its name or queue endpoint; empty means that of the blobs." example:"contosologs"`
	ConnectionString config.Secret   `yaml:"connection_string" doc:"Connection string of the queue's account; empty means the credential of the blobs." example:"${env:QUEUE_STORAGE}"`
	Visibility       config.Duration `yaml:"visibility" doc:"For how long a notice is hidden from other readers while its blob is read; it is renewed meanwhile."`
	MaxDequeues      int             `yaml:"max_dequeues" min:"1" max:"1000" doc:"A notice that was taken this often without success goes to the dead letters."`
	SafetyNet        config.Duration `yaml:"safety_net" doc:"How often to list nevertheless, for notices that were lost."`
}

// DefaultConfig returns the defaults; README.md has the reasons for the numbers.
func DefaultConfig() Config {
	return Config{
		Format: "auto", Layout: "auto", Start: "earliest",
		LookBack: config.Duration(6 * time.Hour), Poll: config.Duration(30 * time.Second),
		Discover: config.Duration(10 * time.Minute), Settle: config.Duration(15 * time.Minute),
		MaxRecord: 8 << 20, Workers: 8, MaxOpen: 1000, Notifications: "none",
		Queue: Queue{Visibility: config.Duration(5 * time.Minute), MaxDequeues: 5, SafetyNet: config.Duration(30 * time.Minute)},
	}
}

var (
	// https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
	containerForm = regexp.MustCompile(`^(\$logs|\$root|\$web|\$blobchangefeed|[a-z0-9*]([a-z0-9*]|-[a-z0-9*]){0,62}-?\*?)$`)
	queueForm     = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9]){2,62}$`)
)

// Validate implements config.Component.
func (c *Config) Validate(r *config.Report) {
	c.validateAccount(r)
	if len(c.Containers) == 0 {
		r.Add("containers", "is empty", `write e.g. ["insights-logs-*", insights-activity-logs]`)
	}
	for i, name := range c.Containers {
		if !containerForm.MatchString(name) {
			r.Add(fmt.Sprintf("containers[%d]", i), fmt.Sprintf("is %q; a container's name is 3 to 63 lower-case letters, digits and single hyphens", name), "write the name as the portal shows it; * stands for any characters")
		}
	}
	switch c.Format {
	case "auto", "ndjson", "json", "text", "csv":
	default:
		r.Add("format", fmt.Sprintf("is %q; it must be auto, ndjson, json, text or csv", c.Format), "leave it out for auto")
	}
	switch c.Layout {
	case "auto", "dated", "flat":
	default:
		r.Add("layout", fmt.Sprintf("is %q; it must be auto, dated or flat", c.Layout), "leave it out for auto")
	}
	if c.Layout != "flat" {
		for _, part := range strings.Split(c.Prefix, "/") {
			if strings.HasPrefix(part, "y=") {
				r.Add("prefix", fmt.Sprintf("is %q, which goes into the date", c.Prefix), "end it before y=, and use start, or lazuli backfill, to choose a time")
			}
		}
	}
	if _, err := parseStart(c.Start, time.Time{}); err != nil {
		r.Add("start", err.Error(), "write earliest, latest, or a time such as 2026-01-31T00:00:00Z")
	}
	atLeast := func(path string, d config.Duration, least time.Duration, fix string) {
		if d.Std() < least {
			r.Add(path, fmt.Sprintf("is %v; it must be at least %v", d, least), fix)
		}
	}
	atLeast("look_back", c.LookBack, 10*time.Minute, "leave it out for the default of 6h")
	atLeast("poll", c.Poll, time.Second, "leave it out for the default of 30s")
	atLeast("discover", c.Discover, time.Second, "leave it out for the default of 10m")
	atLeast("settle", c.Settle, time.Second, "leave it out for the default of 15m")
	if c.MaxRecord < 1<<10 || c.MaxRecord > 256<<20 {
		r.Add("max_record", fmt.Sprintf("is %v; it must be 1KiB to 256MiB", c.MaxRecord), "leave it out for the default of 8MiB")
	}
	if c.Proxy != "" {
		if u, err := url.Parse(c.Proxy); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			r.Add("proxy", "is not an http or https URL with a host", "write http://host:port")
		}
	}
	c.validateQueue(r)
}

func (c *Config) validateAccount(r *config.Report) {
	ways := 0
	for _, set := range []bool{c.ConnectionString != "", c.AccountKey != "", c.SAS != "", c.Tenant != ""} {
		if set {
			ways++
		}
	}
	switch {
	case ways == 0:
		r.Add("connection_string", "is empty, and so are account_key, sas and tenant; one of them says how to sign in", "write connection_string: ${env:NAME}, or account and tenant")
		return
	case ways > 1:
		r.Add("connection_string", "connection_string, account_key, sas and tenant are four ways to sign in, and more than one is given", "keep one of them")
	}
	if c.ConnectionString != "" {
		if c.Account != "" {
			r.Add("account", "is given together with connection_string, which names the account itself", "remove account")
		}
		if _, err := service.NewClientFromConnectionString(c.ConnectionString.Reveal(), nil); err != nil {
			// The SDK's message may quote the string, and that is a secret.
			r.Add("connection_string", "cannot be read; it must have an AccountName and AccountKey, or a BlobEndpoint and SharedAccessSignature", "copy the whole string from Access keys in the portal: DefaultEndpointsProtocol=https;AccountName=...;AccountKey=...")
		}
		return
	}
	if c.Account == "" {
		r.Add("account", "is empty", "write the storage account's name, or its blob endpoint")
	} else if _, err := azure.StorageEndpoint(c.Account, "blob.core.windows.net"); err != nil {
		r.Add("account", fmt.Sprintf("is %q; %v", c.Account, err), "write the storage account's name, or its blob endpoint such as https://contosologs.blob.core.windows.net")
	}
}

func (c *Config) validateQueue(r *config.Report) {
	q := &c.Queue
	switch c.Notifications {
	case "none":
		if q.Name != "" {
			r.Add("queue.name", "is given, but notifications is none", "write notifications: queue, or remove it")
		}
		return
	case "queue":
	default:
		r.Add("notifications", fmt.Sprintf("is %q; it must be none or queue", c.Notifications), "write none or queue")
		return
	}
	if !queueForm.MatchString(q.Name) {
		r.Add("queue.name", fmt.Sprintf("is %q; a queue's name is 3 to 63 lower-case letters, digits and single hyphens", q.Name), "write the name as the portal shows it")
	}
	if q.ConnectionString != "" && q.Account != "" {
		r.Add("queue.account", "is given together with queue.connection_string, which names the account itself", "remove one of the two")
	}
	if q.Account != "" {
		if _, err := azure.StorageEndpoint(q.Account, "queue.core.windows.net"); err != nil {
			r.Add("queue.account", fmt.Sprintf("is %q; %v", q.Account, err), "write the account's name, or its queue endpoint such as https://contosologs.queue.core.windows.net")
		}
	}
	if v := q.Visibility.Std(); v < 10*time.Second || v > 24*time.Hour {
		r.Add("queue.visibility", fmt.Sprintf("is %v; it must be 10s to 1d", q.Visibility), "leave it out for the default of 5m")
	}
	if q.MaxDequeues < 1 {
		r.Add("queue.max_dequeues", fmt.Sprintf("is %d; it must be at least 1", q.MaxDequeues), "leave it out for the default of 5")
	}
	if q.SafetyNet.Std() < time.Minute {
		r.Add("queue.safety_net", fmt.Sprintf("is %v; it must be at least 1m", q.SafetyNet), "leave it out for the default of 30m")
	}
}

// parseStart returns the time that the start option stands for: zero for earliest.
func parseStart(s string, now time.Time) (time.Time, error) {
	switch s {
	case "earliest":
		return time.Time{}, nil
	case "latest":
		return now, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil || t.IsZero() {
		return time.Time{}, fmt.Errorf("is %q; it must be earliest, latest or an RFC 3339 time", s)
	}
	return t.UTC(), nil
}
