package normalize

import "bytes"

// resourceID is what an Azure resource id says: all parts alias it, and are
// empty where it does not have them. The words between the parts are compared
// without case, because each service writes them its own way.
type resourceID struct {
	source        []byte // the id it was read from
	tenant        []byte
	subscription  []byte
	group         []byte
	provider      []byte // "Microsoft.Compute/virtualMachines"; the namespace alone if no type follows
	name          []byte // "vm1", "vm1/extensions/x"
	namespace     []byte // of Event Hubs and Service Bus authorization rules
	authorization []byte // name of the rule
}

func parseResourceID(id []byte) resourceID {
	r := resourceID{source: id}
	rest := id
	for len(rest) > 0 {
		word, after := cutSlash(rest)
		value, next := cutSlash(after)
		switch {
		case foldEqual(word, "subscriptions"):
			r.subscription, rest = value, next
		case foldEqual(word, "resourcegroups"):
			r.group, rest = value, next
		case foldEqual(word, "tenants"):
			r.tenant, rest = value, next
		case foldEqual(word, "providers"):
			r.readProvider(after)
			// An extension (a lock, a role assignment) names the resource it
			// belongs to first; the resource of the id is the last.
			i := indexFold(after, "/providers/")
			if i < 0 {
				return r
			}
			rest = after[i:]
		default:
			rest = after
		}
	}
	return r
}

func (r *resourceID) readProvider(s []byte) {
	r.provider, r.name, r.namespace, r.authorization = s, nil, nil, nil
	namespace, after := cutSlash(s)
	kind, name := cutSlash(after)
	if r.subscription == nil || len(kind) == 0 {
		return // a tenant's resources have no type: /tenants/<id>/providers/Microsoft.aadiam
	}
	r.provider = s[:len(namespace)+1+len(kind)]
	r.name = name
	if !foldEqual(kind, "namespaces") {
		return
	}
	parent, rule := cutSlash(name)
	if word, rule := cutSlash(rule); foldEqual(word, "authorizationrules") && len(rule) > 0 {
		r.provider, r.name, r.namespace, r.authorization = namespace, nil, parent, rule
	}
}

// cutSlash cuts the first part of a path off, and the slashes around it.
func cutSlash(s []byte) (part, rest []byte) {
	if len(s) > 0 && s[0] == '/' {
		s = s[1:]
	}
	if i := bytes.IndexByte(s, '/'); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, nil
}

// foldEqual compares with a word in lower case letters, without case.
func foldEqual(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i := range b {
		if b[i]|0x20 != word[i] && b[i] != word[i] {
			return false
		}
	}
	return true
}

// indexFold finds a word that begins with a slash, without case.
func indexFold(s []byte, word string) int {
	for from := 0; ; {
		i := bytes.IndexByte(s[from:], word[0])
		if i < 0 || len(s)-from-i < len(word) {
			return -1
		}
		if from += i; foldEqual(s[from:from+len(word)], word) {
			return from
		}
		from++
	}
}
