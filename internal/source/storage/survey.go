package storage

import (
	"context"
	"errors"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/status"
)

// survey looks for containers, and in each for folders.
func (s *Source) survey(ctx context.Context) {
	names, ok := s.findContainers(ctx)
	if ok {
		s.health.OK(partAccount)
	}
	each(ctx, catchers, names, func(name string) {
		if err := s.findFolders(ctx, name); err != nil {
			s.trouble(ctx, partContainer(name), "list container "+name, err)
			return
		}
		s.health.OK(partContainer(name))
	})
}

// trouble reports a failed request. Of a source that reads once it is the end.
func (s *Source) trouble(ctx context.Context, part, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	var p problem
	if store := new(storeError); errors.As(err, &store) {
		part, p = partStore, problem{state: status.Retrying, reason: err.Error(), remedy: "check the checkpoint store"}
	} else {
		p = s.explain(what, err)
	}
	s.health.Set(part, p.status())
	s.log.Warn("storage account is not listed: it is tried again", "class", p.class, "reason", p.reason, "remedy", p.remedy)
	if s.once() {
		s.mu.Lock()
		s.failure = errors.Join(s.failure, &p)
		s.mu.Unlock()
	}
}

// findContainers returns the containers that the configuration names. One that
// is named without a * is not looked for.
func (s *Source) findContainers(ctx context.Context) (names []string, ok bool) {
	found := map[string]bool{}
	add := func(name string) {
		if !found[name] {
			found[name] = true
			names = append(names, name)
		}
	}
	ok = true
	for _, pattern := range s.cfg.Containers {
		prefix, _, pattern2 := strings.Cut(pattern, "*")
		if !pattern2 {
			add(pattern)
			continue
		}
		for marker := ""; ; {
			request, cancel := context.WithTimeout(ctx, s.timing.request)
			page, next, err := s.blobs.containers(request, prefix, marker)
			cancel()
			if err != nil {
				s.trouble(ctx, partAccount, "list containers "+pattern, err)
				ok = false
				break
			}
			for _, name := range page {
				if matches(pattern, name) {
					add(name)
				}
			}
			if marker = next; marker == "" {
				break
			}
		}
	}
	return names, ok
}

// list gets a page of a listing.
func (s *Source) list(ctx context.Context, container, prefix, delimiter, marker string) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timing.request)
	defer cancel()
	return s.blobs.list(ctx, container, prefix, delimiter, marker, s.timing.most)
}

// findFolders looks for the folders of a container.
func (s *Source) findFolders(ctx context.Context, name string) error {
	s.mu.Lock()
	c := s.containers[name]
	if c == nil {
		c = &containerState{}
		s.containers[name] = c
		if s.cfg.Layout != "auto" {
			c.layout = s.cfg.Layout
		} else if f := s.folders[name+"/"]; f != nil && f.flat {
			c.layout = "flat" // as it was before the restart
		}
	}
	layout := c.layout
	s.mu.Unlock()
	if layout == "" {
		request, cancel := context.WithTimeout(ctx, s.timing.request)
		first, err := s.blobs.list(request, name, s.cfg.Prefix, "", "", 1)
		cancel()
		if err != nil {
			return err
		}
		if len(first.items) == 0 {
			return nil // there is nothing to tell by, and nothing to read
		}
		layout = "flat"
		if _, _, dated := splitDate(first.items[0].name); dated {
			layout = "dated"
		}
		s.mu.Lock()
		c.layout = layout
		s.mu.Unlock()
		s.log.Info("container found", "container", name, "layout", layout)
	}
	if layout == "flat" {
		s.mu.Lock()
		s.folderLocked(name, "", true, s.start)
		s.mu.Unlock()
		return nil
	}
	return s.walk(ctx, c, name, s.cfg.Prefix, 0)
}

// walk goes down from a prefix, level by level, to where the years are. It costs
// a request for each level and resource, not for each blob.
func (s *Source) walk(ctx context.Context, c *containerState, container, prefix string, depth int) error {
	if depth > deepest {
		return nil
	}
	for marker := ""; ; {
		p, err := s.list(ctx, container, prefix, "/", marker)
		if err != nil {
			return err
		}
		s.strays(c, container, p.items)
		for _, dir := range p.prefixes {
			if folder, ok := isYear(dir); ok {
				s.mu.Lock()
				s.folderLocked(container, folder, false, s.start)
				s.mu.Unlock()
				continue
			}
			if err := s.walk(ctx, c, container, dir, depth+1); err != nil {
				return err
			}
		}
		if marker = p.next; marker == "" {
			return nil
		}
	}
}

// strays says once that a container has blobs that are not read.
func (s *Source) strays(c *containerState, container string, items []item) {
	for _, it := range items {
		if it.size == 0 || !s.wantsBlob(it.name) {
			continue // a directory of a hierarchical account is a blob without content
		}
		s.mu.Lock()
		reported := c.strays
		c.strays = true
		s.mu.Unlock()
		if !reported {
			s.log.Warn("container has blobs outside of y=/m=/d=/h=: they are not read", "container", container, "example", it.name,
				"remedy", "if they are wanted, read them with a source of their own: layout: flat, and prefix or suffix to choose them")
		}
		return
	}
}
