package blobs

import (
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
)

// Options of a Server.
type Options struct {
	storageapi.Options
	// Created is told of every blob that became readable anew or with other
	// content by Put Blob, Put Block List or Copy Blob, which is what Event Grid
	// reports as BlobCreated (learn.microsoft.com/azure/event-grid/event-schema-blob-storage).
	// Appends are not among them. It is called after the blob can be read.
	Created func(Created)
}

// Created is what Created is told.
type Created struct {
	Account, Container, Blob string
	API                      string // "PutBlob", "PutBlockList", "CopyBlob"
	ETag, ContentType        string
	Type                     Type
	Size                     int64
	At                       time.Time
	// Sequence rises with every change of this server.
	Sequence int64
}

// Server is Blob Storage. It is an http.Handler, to be served with and without
// TLS, and safe for concurrent use.
type Server struct {
	*storageapi.Service
	now     func() time.Time
	created func(Created)

	mu       sync.RWMutex // guards what follows and all that hangs on it
	accounts map[string]map[string]*container
	lastTick int64
}

// New returns a server without containers.
func New(options Options) (*Server, error) {
	s := &Server{now: options.Now, created: options.Created, accounts: map[string]map[string]*container{}}
	if s.now == nil {
		s.now = time.Now
	}
	for name := range options.Accounts {
		s.accounts[name] = map[string]*container{}
	}
	var err error
	s.Service, err = storageapi.New(storageapi.Blob, options.Options, s.route)
	return s, err
}

var containerName = regexp.MustCompile(`^(\$root|\$logs|\$web|[a-z0-9](-?[a-z0-9]){2,62})$`)

const maxBlobName = 1024

// target is what a request is about.
type target struct {
	*storageapi.Call
	container, blob string
}

// route finds the operation that a request asks for.
func (s *Server) route(c *storageapi.Call) (op storageapi.Operation, err error) {
	t := target{Call: c}
	t.container, t.blob, _ = strings.Cut(c.Path, "/")
	restype, comp := c.Query.Get("restype"), c.Query.Get("comp")
	switch {
	case t.container == "":
		return s.routeService(t, restype, comp)
	case restype != "container" && t.blob == "": // a blob of the root container
		t.container, t.blob = "$root", t.container
	}
	if !containerName.MatchString(t.container) {
		return op, storageapi.Errorf(http.StatusBadRequest, "InvalidResourceName", "The specified resource name contains invalid characters.")
	}
	if t.blob == "" {
		return s.routeContainer(t, comp)
	}
	if len(t.blob) > maxBlobName {
		return op, storageapi.OutOfRange()
	}
	for _, name := range []string{"snapshot", "versionid"} {
		if c.Query.Has(name) {
			return op, storageapi.NotImplemented(name + "s")
		}
	}
	return s.routeBlob(t, comp)
}

func (s *Server) routeService(t target, restype, comp string) (op storageapi.Operation, err error) {
	switch key := t.Method + " " + restype + " " + comp; {
	case key == "GET  list":
		return operation("ListContainers", s.listContainers, t, storageapi.Need{ResourceType: 's', Permissions: "l", AccountOnly: true}), nil
	case key == "GET service properties":
		return operation("GetBlobServiceProperties", s.serviceProperties, t, storageapi.Need{ResourceType: 's', Permissions: "r", AccountOnly: true}), nil
	case restype == "account" && comp == "properties" && (t.Method == http.MethodGet || t.Method == http.MethodHead):
		return operation("GetAccountInformation", s.accountInformation, t, storageapi.Need{ResourceType: 's', Permissions: "rwdlacup"}), nil
	}
	return op, unsupported(t.Method, comp)
}

func (s *Server) routeContainer(t target, comp string) (op storageapi.Operation, err error) {
	need := storageapi.Need{ResourceType: 'c', Container: t.container, AccountOnly: true}
	reading := t.Method == http.MethodGet || t.Method == http.MethodHead
	switch {
	case t.Method == http.MethodGet && comp == "list":
		need.Permissions, need.AccountOnly = "l", false
		return operation("ListBlobs", s.listBlobs, t, need), nil
	case reading && comp == "":
		need.Permissions = "r"
		return operation("GetContainerProperties", s.containerProperties, t, need), nil
	case reading && comp == "metadata":
		need.Permissions = "r"
		return operation("GetContainerMetadata", s.containerProperties, t, need), nil
	case t.Method == http.MethodPut && comp == "":
		need.Permissions, need.Write = "cw", true
		return operation("CreateContainer", s.createContainer, t, need), nil
	case t.Method == http.MethodPut && comp == "metadata":
		need.Permissions, need.Write = "w", true
		return operation("SetContainerMetadata", s.setContainerMetadata, t, need), nil
	case t.Method == http.MethodPut && comp == "lease":
		need.Permissions, need.Write = "wd", true
		return operation("LeaseContainer", s.leaseContainer, t, need), nil
	case t.Method == http.MethodDelete && comp == "":
		need.Permissions, need.Write = "d", true
		return operation("DeleteContainer", s.deleteContainer, t, need), nil
	}
	return op, unsupported(t.Method, comp)
}

func (s *Server) routeBlob(t target, comp string) (op storageapi.Operation, err error) {
	need := storageapi.Need{ResourceType: 'o', Container: t.container, Blob: t.blob, Permissions: "r"}
	switch t.Method + " " + comp {
	case "GET ":
		return operation("GetBlob", s.getBlob, t, need), nil
	case "HEAD ":
		return operation("GetBlobProperties", s.getBlob, t, need), nil
	case "GET metadata", "HEAD metadata":
		return operation("GetBlobMetadata", s.blobMetadata, t, need), nil
	case "GET blocklist":
		return operation("GetBlockList", s.getBlockList, t, need), nil
	case "DELETE ":
		need.Permissions, need.Write = "d", true
		return operation("DeleteBlob", s.deleteBlob, t, need), nil
	}
	if t.Method != http.MethodPut {
		return op, unsupported(t.Method, comp)
	}
	need.Permissions, need.Write = "w", true
	switch comp {
	case "":
		need.Permissions = "cw"
		if t.Header("x-ms-copy-source") != "" {
			return operation("CopyBlob", s.copyBlob, t, need), nil
		}
		return operation("PutBlob", s.putBlob, t, need), nil
	case "block":
		return operation("PutBlock", s.putBlock, t, need), nil
	case "blocklist":
		return operation("PutBlockList", s.putBlockList, t, need), nil
	case "appendblock":
		need.Permissions = "aw"
		return operation("AppendBlock", s.appendBlock, t, need), nil
	case "metadata":
		return operation("SetBlobMetadata", s.setBlobMetadata, t, need), nil
	case "properties":
		return operation("SetBlobProperties", s.setBlobProperties, t, need), nil
	case "lease":
		return operation("LeaseBlob", s.leaseBlob, t, need), nil
	case "tier":
		return operation("SetBlobTier", s.setTier, t, need), nil
	}
	return op, unsupported(t.Method, comp)
}

func operation(name string, run func(target) error, t target, need storageapi.Need) storageapi.Operation {
	return storageapi.Operation{Name: name, Need: need, Run: func(c *storageapi.Call) error {
		t.Call = c
		return run(t)
	}}
}

func unsupported(method, comp string) *storageapi.Error {
	return storageapi.NotImplemented(method + " with comp=" + comp)
}

// containerLocked returns a container, or the refusal.
func (s *Server) containerLocked(account, name string) (*container, error) {
	if c := s.accounts[account][name]; c != nil {
		return c, nil
	}
	return nil, storageapi.Errorf(http.StatusNotFound, "ContainerNotFound", "The specified container does not exist.")
}

// change runs f with a blob that is to be changed, under the lock, when
// conditions and lease allow it; b is nil where there is none yet, if the
// operation creates one.
func (s *Server) change(t target, creates bool, f func(c *container, b *blob) error) error {
	k, err := readConditions(t.Call)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.containerLocked(t.Account, t.container)
	if err != nil {
		return err
	}
	b := c.blob(t.blob, true)
	if b == nil && !creates {
		return notFound()
	}
	if err := k.write(b); err != nil {
		return err
	}
	var held lease
	if b != nil {
		held = b.lease
	}
	if err := held.check(t.Header("x-ms-lease-id"), "Blob", true, s.now()); err != nil {
		return err
	}
	return f(c, b)
}

func (s *Server) serviceProperties(t target) error {
	body := storageapi.AppendXML(nil)
	const none = "<%s><Version>1.0</Version><Enabled>false</Enabled><RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></%s>"
	body = append(body, "<StorageServiceProperties><Logging><Version>1.0</Version><Read>false</Read><Write>false</Write><Delete>false</Delete>"+
		"<RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></Logging>"...)
	for _, name := range []string{"HourMetrics", "MinuteMetrics"} {
		body = append(body, strings.ReplaceAll(none, "%s", name)...)
	}
	return t.XML(http.StatusOK, append(body, "<Cors /><DeleteRetentionPolicy><Enabled>false</Enabled></DeleteRetentionPolicy>"+
		"<StaticWebsite><Enabled>false</Enabled></StaticWebsite></StorageServiceProperties>"...))
}

func (s *Server) accountInformation(t target) error {
	t.Answer().Set("x-ms-sku-name", "Standard_LRS")
	t.Answer().Set("x-ms-account-kind", "StorageV2")
	t.Answer().Set("x-ms-is-hns-enabled", "false")
	return t.Empty(http.StatusOK)
}
