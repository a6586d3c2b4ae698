package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
)

// Environment is what a document may refer to. A nil function means that
// there is nothing to find.
type Environment struct {
	LookupEnv func(name string) (value string, found bool) // os.LookupEnv
	ReadFile  func(path string) ([]byte, error)            // os.ReadFile
}

func (e Environment) lookup(name string) (string, bool) {
	if e.LookupEnv == nil {
		return "", false
	}
	return e.LookupEnv(name)
}

func (e Environment) read(path string) ([]byte, error) {
	if e.ReadFile == nil {
		return nil, fs.ErrNotExist
	}
	return e.ReadFile(path)
}

var (
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

	// referenceStart finds "${" and its escape "$${".
	referenceStart = regexp.MustCompile(`\$?\$\{`)
)

// expand replaces the references ${env:NAME} and ${file:PATH} in the text of
// one scalar and turns $${ into ${. What a reference brings in is not expanded
// again. It calls found with each value, so that it can be kept out of
// messages, and reports a reference that leads nowhere.
func (d *decoder) expand(text string, report func(rule, fix string)) (expanded string, refers, ok bool) {
	if !strings.Contains(text, "${") {
		return text, false, true
	}
	var b strings.Builder
	ok = true
	for {
		at := referenceStart.FindStringIndex(text)
		if at == nil {
			b.WriteString(text)
			return b.String(), refers, ok
		}
		b.WriteString(text[:at[0]])
		rest := text[at[1]:]
		if at[1]-at[0] == len("$${") {
			b.WriteString("${")
			text = rest
			continue
		}
		refers = true
		inner, after, closed := strings.Cut(rest, "}")
		if !closed {
			report("a reference has no closing brace", "write ${env:NAME} or ${file:PATH}, or $${ for the two characters")
			return "", true, false
		}
		value, err := d.resolve(inner)
		if err != nil {
			report(err.rule, err.fix)
			ok = false
		}
		d.secrets.hide(value, "${"+inner+"}")
		b.WriteString(value)
		text = after
	}
}

type referenceError struct{ rule, fix string }

// resolve returns what the inside of ${...} stands for. A reference that is
// not understood is not quoted: it may be a secret that holds "${".
func (d *decoder) resolve(inner string) (string, *referenceError) {
	kind, name, _ := strings.Cut(inner, ":")
	switch {
	case kind == "env" && variableName.MatchString(name):
		value, found := d.env.lookup(name)
		if !found {
			return "", &referenceError{
				fmt.Sprintf("environment variable %s is not set", name),
				fmt.Sprintf("set %s where Lazuli is started, or use ${file:PATH}", name),
			}
		}
		return value, nil
	case kind == "file" && name != "":
		path := d.inFolder(name)
		data, err := d.env.read(path)
		if err != nil {
			reason, fix := "cannot be read", "name a file, not a folder"
			if errors.Is(err, fs.ErrNotExist) {
				reason, fix = "does not exist", "create the file or correct the path; it is relative to the config file's folder"
			} else if errors.Is(err, fs.ErrPermission) {
				reason, fix = "may not be read", "let the user that Lazuli runs as read it"
			}
			return "", &referenceError{fmt.Sprintf("file %q %s", path, reason), fix}
		}
		value := strings.TrimSuffix(string(data), "\n")
		return strings.TrimSuffix(value, "\r"), nil
	}
	return "", &referenceError{
		"holds a reference that is neither ${env:NAME} nor ${file:PATH}",
		"write ${env:NAME} or ${file:PATH}, or $${ for the two characters",
	}
}

// inFolder returns path relative to the folder of the config file.
func (d *decoder) inFolder(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(d.file), path)
}
