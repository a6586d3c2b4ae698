package file

import (
	"fmt"
	"time"

	"github.com/lazuli-logs/lazuli/internal/config"
)

// Config is the settings of one file sink.
type Config struct {
	Path        config.Path `yaml:"path" required:"true" example:"/var/lib/lazuli/events.ndjson" doc:"The file written to. Its folder is made if absent."`
	Rotate      Rotate      `yaml:"rotate" doc:"When the file is set aside as PATH-<time> and a new one is begun."`
	Compression string      `yaml:"compression" enum:"none|gzip|zstd" doc:"How rotated files are compressed. The active file is plain text."`
	Keep        int         `yaml:"keep" min:"0" max:"100000" doc:"How many rotated files are kept; older ones are deleted. 0 keeps all."`
}

// Rotate bounds the active file.
type Rotate struct {
	Size  config.Size     `yaml:"size" min:"1MiB" max:"1TiB" doc:"Rotate before the file grows over this size."`
	Every config.Duration `yaml:"every" max:"31d" doc:"Rotate at each multiple of this time since midnight UTC, e.g. 1h. 0s: by size only."`
}

// DefaultConfig returns the defaults.
func DefaultConfig() *Config {
	return &Config{Rotate: Rotate{Size: 256 << 20}, Compression: "none"}
}

// DeliveryDefaults implements config.DeliveryDefaulter: one writer, and batches
// large enough that fsync is paid once for many events.
func (c *Config) DeliveryDefaults(d *config.SinkDelivery) {
	d.Concurrency = 1
	d.Batch = config.Batch{Events: 20_000, Bytes: 8 << 20, Wait: config.Duration(200 * time.Millisecond)}
}

// Validate implements config.Component.
func (c *Config) Validate(r *config.Report) {
	if c.Path == "" {
		r.Add("path", "is empty", "name a file, e.g. path: /var/lib/lazuli/events.ndjson")
	}
	if every := c.Rotate.Every.Std(); every != 0 && every < time.Second {
		r.Add("rotate.every", fmt.Sprintf("is %v, less than a second", every), "write e.g. 1h, or 0s to rotate by size only")
	}
}
