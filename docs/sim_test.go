// Package docs_test holds pages against the program.
package docs_test

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/lazuli-logs/lazuli/internal/azuresim"
)

func TestTheSimulatorIsAsItsPageSays(t *testing.T) {
	page, err := os.ReadFile("sim.md")
	if err != nil {
		t.Fatal(err)
	}
	sim, err := azuresim.Start(t.Context(), azuresim.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	line, err := json.Marshal(sim.Endpoints)
	if err != nil {
		t.Fatal(err)
	}
	var endpoints map[string]any
	if err := json.Unmarshal(line, &endpoints); err != nil {
		t.Fatal(err)
	}
	delete(endpoints, "seed") // as --seed says
	for key := range endpoints {
		if !strings.Contains(string(page), "`"+key+"`") {
			t.Errorf("the page does not tell of the endpoint %q", key)
		}
	}
	// A route that exists answers with 200, or with 400 for a parameter it lacks.
	requests := regexp.MustCompile("`(?:(GET|POST) )?(/[a-z/-]+)").FindAllStringSubmatch(string(page), -1)
	checked := 0
	for _, r := range requests {
		method, path := r[1], r[2]
		if method == "" {
			method = http.MethodPost
		}
		if path == "/" || strings.HasPrefix(path, "/hubs/") {
			continue
		}
		req, err := http.NewRequestWithContext(t.Context(), method, sim.Endpoints.Control+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s %s answers %d", method, path, resp.StatusCode)
		}
		checked++
	}
	if checked < 14 {
		t.Errorf("only %d requests were found on the page", checked)
	}
}
