package blobs

import (
	"net/http"
	"time"

	"github.com/lazuli-logs/lazuli/internal/azuresim/storageapi"
)

func (s *Server) newContainerLocked(name string, metadata map[string]string) *container {
	c := &container{name: name, metadata: metadata, byName: map[string]*blob{}, uncommitted: map[string][]pendingBlock{}, hidden: map[int]struct{}{}}
	c.modified, c.etag = s.stampLocked()
	c.created = c.modified
	return c
}

func (s *Server) createContainer(t target) error {
	metadata, err := t.Metadata()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.accounts[t.Account][t.container] != nil {
		return storageapi.Errorf(http.StatusConflict, "ContainerAlreadyExists", "The specified container already exists.")
	}
	c := s.newContainerLocked(t.container, metadata)
	s.accounts[t.Account][t.container] = c
	showStamp(t.Answer(), c.etag, c.modified)
	return t.Empty(http.StatusCreated)
}

func (s *Server) containerProperties(t target) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, err := s.containerLocked(t.Account, t.container)
	if err != nil {
		return err
	}
	now := s.now()
	if err := c.lease.check(t.Header("x-ms-lease-id"), "Container", false, now); err != nil {
		return err
	}
	h := t.Answer()
	showStamp(h, c.etag, c.modified)
	storageapi.ShowMetadata(h, c.metadata)
	c.lease.show(h, now)
	h.Set("x-ms-has-immutability-policy", "false")
	h.Set("x-ms-has-legal-hold", "false")
	return t.Empty(http.StatusOK)
}

// changeContainer runs f under the lock, when conditions and lease allow it.
func (s *Server) changeContainer(t target, needLease bool, f func(c *container, now time.Time) error) error {
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
	if err := k.read(c.etag, c.modified); err != nil {
		return storageapi.ConditionNotMet()
	}
	now := s.now()
	if needLease {
		if err := c.lease.check(t.Header("x-ms-lease-id"), "Container", true, now); err != nil {
			return err
		}
	}
	return f(c, now)
}

func (s *Server) setContainerMetadata(t target) error {
	metadata, err := t.Metadata()
	if err != nil {
		return err
	}
	return s.changeContainer(t, false, func(c *container, _ time.Time) error {
		c.metadata = metadata
		c.modified, c.etag = s.stampLocked()
		showStamp(t.Answer(), c.etag, c.modified)
		return t.Empty(http.StatusOK)
	})
}

func (s *Server) deleteContainer(t target) error {
	return s.changeContainer(t, true, func(*container, time.Time) error {
		delete(s.accounts[t.Account], t.container)
		return t.Empty(http.StatusAccepted)
	})
}

func (s *Server) leaseContainer(t target) error {
	request, err := readLease(t.Call)
	if err != nil {
		return err
	}
	return s.changeContainer(t, false, func(c *container, now time.Time) error {
		status, err := c.lease.apply(request, t.Answer(), now)
		if err != nil {
			return err
		}
		showStamp(t.Answer(), c.etag, c.modified)
		return t.Empty(status)
	})
}
