package storage

// Shards divides the folders between several instances.
type Shards interface {
	// Owns tells whether this instance reads the folder.
	Owns(folder string) bool
}

func (s *Source) mine(f *folder) bool { return s.deps.Shards == nil || s.deps.Shards.Owns(f.key()) }
