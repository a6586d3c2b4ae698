package stdout

import (
	"bytes"
	"strings"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/sink/sinktest"
)

func TestContract(t *testing.T) {
	sinktest.Run(t, func(*testing.T) sinktest.Harness {
		var out bytes.Buffer
		return sinktest.Harness{Sink: New(&out), Received: func(*testing.T) []string {
			return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		}}
	})
}
