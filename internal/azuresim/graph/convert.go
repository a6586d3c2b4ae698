package graph

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// form is how the records of a category become objects of a collection.
type form struct {
	path      string
	eventType string        // of sign-ins
	times     []string      // members that are written as Graph writes times
	step      time.Duration // of those times
}

// forms are the categories of diagnostic settings whose records Graph has one for
// one. Risky users and service principals are not among them: of each, Graph has
// its state alone, which follows here from the detections.
func forms() map[string]form {
	const signIns = "auditLogs/signIns"
	created := []string{"createdDateTime"}
	risk := []string{"activityDateTime", "detectedDateTime", "lastUpdatedDateTime"}
	activity := []string{"activityDateTime"}
	return map[string]form{
		// Graph gives the time of a sign-in in whole seconds, diagnostic settings in
		// steps of 100 ns.
		"SignInLogs":                   {signIns, "interactiveUser", created, time.Second},
		"ADFSSignInLogs":               {signIns, "interactiveUser", created, time.Second},
		"NonInteractiveUserSignInLogs": {signIns, "nonInteractiveUser", created, time.Second},
		"ServicePrincipalSignInLogs":   {signIns, "servicePrincipal", created, time.Second},
		"ManagedIdentitySignInLogs":    {signIns, "managedIdentity", created, time.Second},
		"AuditLogs":                    {"auditLogs/directoryAudits", "", activity, 100},
		"ProvisioningLogs":             {"auditLogs/provisioning", "", activity, 100},
		"UserRiskEvents":               {"identityProtection/riskDetections", "", risk, 100},
		"ServicePrincipalRiskEvents":   {"identityProtection/servicePrincipalRiskDetections", "", risk, 100},
	}
}

// Has reports whether Graph has the records of a category.
func Has(category string) bool {
	_, has := forms()[category]
	return has
}

// Add takes a record as diagnostic settings write it, and what follows from it.
func (s *Server) Add(category string, record []byte) error {
	f, has := forms()[category]
	if !has {
		return fmt.Errorf("add a record to Graph: it has no collection for the category %q", category)
	}
	raw, err := f.convert(record)
	if err != nil {
		return fmt.Errorf("add a record of %s to Graph: %w", category, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.putLocked(f.path, raw, time.Time{}); err != nil {
		return err
	}
	switch category {
	case "UserRiskEvents":
		return s.derive(raw)
	case "ServicePrincipalRiskEvents":
		return s.deriveServicePrincipal(raw)
	}
	return nil
}

// convert returns the object that Graph has for a record: what stands in its
// properties, under the same names and with the same id.
func (f form) convert(record []byte) ([]byte, error) {
	var envelope struct {
		Properties json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal(record, &envelope); err != nil {
		return nil, err
	}
	changes := map[string]func(json.RawMessage) (json.RawMessage, error){}
	for _, name := range f.times {
		changes[name] = f.time
	}
	var more []byte
	if f.eventType != "" {
		changes["signInEventTypes"] = func(json.RawMessage) (json.RawMessage, error) { return nil, nil }
		more = fmt.Appendf(nil, `"signInEventTypes":[%q]`, f.eventType)
	}
	return rewrite(envelope.Properties, changes, more)
}

func (f form) time(value json.RawMessage) (json.RawMessage, error) {
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return nil, err
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return nil, err
	}
	return []byte(quote(at.UTC().Truncate(f.step).Format("2006-01-02T15:04:05.9999999Z"))), nil
}

// rewrite returns an object with some members changed, or left out where the
// change gives nothing, all others byte for byte, and more at the end.
func rewrite(object []byte, changes map[string]func(json.RawMessage) (json.RawMessage, error), more []byte) ([]byte, error) {
	in := json.NewDecoder(bytes.NewReader(object))
	if open, err := in.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.Join(errors.New("it is not an object"), err)
	}
	out := make([]byte, 0, len(object)+len(more)+2)
	out = append(out, '{')
	for in.More() {
		name, err := in.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := in.Decode(&value); err != nil {
			return nil, err
		}
		key, _ := name.(string)
		if change := changes[key]; change != nil {
			if value, err = change(value); err != nil {
				return nil, fmt.Errorf("member %q: %w", key, err)
			}
			if value == nil {
				continue
			}
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, quote(key)...), ':'), value...)
	}
	if len(more) > 0 {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, more...)
	}
	return append(out, '}'), nil
}

// Update changes string members of an object, as the service does when its state
// changes: it gets a new time and a new place in the order.
func (s *Server) Update(path, id string, members map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.updateLocked(path, id, members)
}

func (s *Server) updateLocked(path, id string, members map[string]string) error {
	c := s.collection(path)
	if c == nil || c.byID[id] == nil {
		return fmt.Errorf("update %q of %s: there is no such object", id, path)
	}
	changes := map[string]func(json.RawMessage) (json.RawMessage, error){}
	for name, value := range members {
		changes[name] = func(json.RawMessage) (json.RawMessage, error) { return []byte(quote(value)), nil }
	}
	raw, err := rewrite(c.byID[id].raw, changes, nil)
	if err != nil {
		return err
	}
	return s.putLocked(path, raw, time.Time{})
}
