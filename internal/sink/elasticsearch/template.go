package elasticsearch

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/lazuli-logs/lazuli/internal/sink"
	"github.com/lazuli-logs/lazuli/internal/sink/httpsink"
)

// template is the index template: data streams, texts as keywords, and the
// original record kept and not indexed.
func (s *Sink) template() ([]byte, error) {
	return json.Marshal(map[string]any{
		"index_patterns": s.patterns(),
		"data_stream":    map[string]any{},
		// Over the templates that Elasticsearch brings for logs-*-* (100).
		"priority": 250,
		"template": map[string]any{
			"settings": map[string]any{
				// ECS documents of Azure have up to a few hundred fields for a log type.
				"index.mapping.total_fields.limit": 2000,
				"index.mapping.ignore_malformed":   true,
			},
			"mappings": map[string]any{
				"dynamic_templates": []any{map[string]any{"texts": map[string]any{
					"match_mapping_type": "string",
					"mapping":            map[string]any{"type": "keyword", "ignore_above": 1024},
				}}},
				"properties": map[string]any{
					"@timestamp": map[string]any{"type": "date"},
					"event": map[string]any{"properties": map[string]any{
						"original": map[string]any{"type": "keyword", "index": false, "doc_values": false},
					}},
				},
			},
		},
		"_meta": map[string]any{"managed_by": "lazuli"},
	})
}

// datasets are patterns of the datasets there are: a template for all of logs-*
// would be one for the logs of others too.
var datasets = []string{"azure*", "m365_*", "microsoft_*"}

// patterns returns those that the names of indices fit.
func (s *Sink) patterns() []string {
	if !strings.Contains(s.cfg.Index, "{dataset}") {
		return []string{placeholder.ReplaceAllString(s.cfg.Index, "*")}
	}
	var out []string
	for _, d := range datasets {
		out = append(out, placeholder.ReplaceAllString(strings.ReplaceAll(s.cfg.Index, "{dataset}", d), "*"))
	}
	return out
}

// install puts the index template, once.
func (s *Sink) install(ctx context.Context) error {
	s.mu.Lock()
	installed := s.installed
	s.mu.Unlock()
	if installed {
		return nil
	}
	body, err := s.template()
	if err != nil {
		return fmt.Errorf("make the index template: %w", err)
	}
	p := httpsink.Body(body)
	defer p.Free()
	header := s.header.Clone()
	header.Set("Content-Type", "application/json")
	header.Del("Content-Encoding")
	answer, err := s.post(ctx, http.MethodPut, "/_index_template/lazuli", header, p)
	if err == nil {
		err = answer.Err()
	}
	if err != nil {
		return &sink.RemedyError{
			Err:    fmt.Errorf("install the index template lazuli: %w", err),
			Remedy: "give the credential the privilege manage_index_templates, or set install_template: false and install it yourself",
			Person: answer != nil && answer.Status >= 400 && answer.Status < 500,
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.installed = true
	return nil
}
