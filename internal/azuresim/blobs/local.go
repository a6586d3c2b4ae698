package blobs

import (
	"fmt"
	"io"
	"maps"
	"slices"
)

// What follows is the server's Go interface: for the programs in this process
// that produce logs, and for tests that need something to happen to a blob. It
// needs no authorization and is not counted.

// CreateContainer makes a container unless it exists.
func (s *Server) CreateContainer(account, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	containers, known := s.accounts[account]
	if !known {
		return fmt.Errorf("create container %q: there is no storage account %q", name, account)
	}
	if !containerName.MatchString(name) {
		return fmt.Errorf("create container %q: the name must have 3 to 63 lower-case letters, digits and single dashes", name)
	}
	if containers[name] == nil {
		containers[name] = s.newContainerLocked(name, nil)
	}
	return nil
}

// SetHistory gives a container a history, or takes it away with nil.
func (s *Server) SetHistory(account, name string, h *History) error {
	if h != nil && !slices.IsSorted(h.Prefixes) {
		return fmt.Errorf("set the history of container %q: its prefixes must ascend", name)
	}
	return s.withContainer(account, name, func(c *container) error {
		c.history, c.hidden = h, map[int]struct{}{}
		return nil
	})
}

func (s *Server) withContainer(account, name string, f func(*container) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.containerLocked(account, name)
	if err != nil {
		return fmt.Errorf("container %q of storage account %q: %w", name, account, err)
	}
	return f(c)
}

func (s *Server) withBlob(account, in, name string, f func(*container, *blob) error) error {
	return s.withContainer(account, in, func(c *container) error {
		b := c.blob(name, true)
		if b == nil {
			return fmt.Errorf("blob %q in container %q: %w", name, in, notFound())
		}
		return f(c, b)
	})
}

// Append appends a block to an append blob, which is made if there is none, as
// diagnostic settings do. The data is copied.
func (s *Server) Append(account, in, name string, data []byte) error {
	var made *blob
	err := s.withContainer(account, in, func(c *container) error {
		b := c.blob(name, true)
		if b == nil {
			b = &blob{state: state{name: name, kind: AppendBlob}}
			s.changed(&b.state)
			c.put(b)
			made = &blob{state: b.state}
		}
		return s.appendLocked(b, data)
	})
	if made != nil {
		s.tell(account, in, "PutBlob", made, err)
	}
	return err
}

// Block is a block of a block blob.
type Block struct {
	ID   string
	Data []byte // nil: the block with this ID that the blob has
}

// PutBlocks makes a block blob of blocks. The data is kept, not copied.
func (s *Server) PutBlocks(account, in, name string, blocks []Block) error {
	var made *blob
	err := s.withContainer(account, in, func(c *container) (err error) {
		var list []blockRef
		for _, b := range blocks {
			ref := blockRef{ID: b.ID}
			ref.XMLName.Local = "Latest"
			list = append(list, ref)
			if b.Data == nil {
				continue
			}
			if err := c.stage(name, b.ID, b.Data); err != nil {
				return err
			}
		}
		made, err = s.commit(c, name, c.blob(name, true), list)
		return err
	})
	s.tell(account, in, "PutBlockList", made, err)
	return err
}

// Put makes a block blob of data, which is kept, not copied, or replaces one: to
// readers that is a blob that was overwritten.
func (s *Server) Put(account, in, name string, data []byte) error {
	made := &blob{state: state{name: name, kind: BlockBlob}}
	made.content.add(data)
	return s.place(account, in, made)
}

// PutSource is Put for a body of any size, which source makes up when it is
// read. It must be safe for concurrent use.
func (s *Server) PutSource(account, in, name string, size int64, source io.ReaderAt) error {
	made := &blob{state: state{name: name, kind: BlockBlob}}
	made.content = content{segments: []segment{{size: size, source: source}}, size: size}
	return s.place(account, in, made)
}

func (s *Server) place(account, in string, made *blob) error {
	err := s.withContainer(account, in, func(c *container) error {
		s.changed(&made.state)
		c.put(made)
		return nil
	})
	s.tell(account, in, "PutBlob", made, err)
	return err
}

// Replace makes an append blob anew with other data: an overwritten log.
func (s *Server) Replace(account, in, name string, data []byte) error {
	made := &blob{state: state{name: name, kind: AppendBlob, appended: 1}}
	made.content.append(data)
	return s.place(account, in, made)
}

// Delete deletes a blob.
func (s *Server) Delete(account, in, name string) error {
	return s.withBlob(account, in, name, func(c *container, _ *blob) error {
		c.remove(name)
		return nil
	})
}

// Touch gives a blob another ETag and time, and leaves its content alone.
func (s *Server) Touch(account, in, name string) error {
	return s.withBlob(account, in, name, func(_ *container, b *blob) error {
		s.changed(&b.state)
		return nil
	})
}

// SetTier moves a blob to a tier, of any type, e.g. "Archive", from which it
// cannot be read.
func (s *Server) SetTier(account, in, name, tier string) error {
	return s.withBlob(account, in, name, func(_ *container, b *blob) error {
		b.tier = tier
		return nil
	})
}

// Read returns what a blob holds.
func (s *Server) Read(account, in, name string) ([]byte, error) {
	var data []byte
	err := s.withBlob(account, in, name, func(_ *container, b *blob) error {
		w := writer{}
		err := writeTo(&w, b.content.slice(0, b.content.size))
		data = w
		return err
	})
	return data, err
}

// writer gathers what is written.
type writer []byte

// Write implements io.Writer.
func (w *writer) Write(b []byte) (int, error) {
	*w = append(*w, b...)
	return len(b), nil
}

// Containers returns the names of an account's containers, in order.
func (s *Server) Containers(account string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.accounts[account]))
}

// Names returns the names of a container's blobs, those of its history aside.
func (s *Server) Names(account, in string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.accounts[account][in]
	if c == nil {
		return nil
	}
	var names []string
	for _, b := range c.sorted {
		names = append(names, b.name)
	}
	return names
}
