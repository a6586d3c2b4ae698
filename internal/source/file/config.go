package file

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/lazuli-logs/lazuli/internal/config"
)

// Config is the settings of one source.
type Config struct {
	Path    config.Path     `yaml:"path" required:"true" example:"/var/log/product/audit*.ndjson" doc:"The files, by a path that may have * and ? in its last part."`
	Format  string          `yaml:"format" enum:"lines|whole" doc:"lines: every line is a record, or anything that holds records. whole: a file is read once it no longer grows; for JSON over several lines. Files in gzip format are always read whole."`
	Start   string          `yaml:"start" enum:"beginning|end" doc:"Where a file begins that is there at the start and has no checkpoint. Files that appear later are read from their beginning."`
	Poll    config.Duration `yaml:"poll" min:"100ms" max:"1h" doc:"How often files are looked at."`
	Idle    config.Duration `yaml:"idle" min:"1s" max:"24h" doc:"A file that has not grown for so long is closed, and opened again when it grows. What stands behind its last line feed is emitted then if the file is gone from path."`
	MaxFile config.Size     `yaml:"max_file" min:"1MiB" max:"1GiB" doc:"The largest file that is read whole."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() *Config {
	return &Config{
		Format: "lines", Start: "beginning", Poll: config.Duration(time.Second), Idle: config.Duration(time.Minute), MaxFile: 64 << 20,
	}
}

// Validate implements config.Component.
func (c *Config) Validate(r *config.Report) {
	if c.Path == "" {
		return
	}
	if _, err := filepath.Match(filepath.Base(string(c.Path)), ""); err != nil {
		r.Add("path", fmt.Sprintf("is %q, which cannot be matched: %v", c.Path, err), `write * and ? only, and \[ for a bracket`)
	}
}
