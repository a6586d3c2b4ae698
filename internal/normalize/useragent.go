package normalize

import "bytes"

// userAgent is what a User-Agent header says of the program and the machine.
// The names are those of the ua-parser project, which Elasticsearch's
// user_agent processor uses too; what it knows beyond browsers and the common
// HTTP libraries is "Other" here.
type userAgent struct {
	source               []byte
	name, device, osName string
	version, osVersion   []byte
}

var userAgentParts = []string{"name", "version", "os_name", "os_version", "os_full", "device"}

// agentMarks are the products that tell programs apart. Most send the products
// of others too, so the first found in this order counts.
var agentMarks = []struct{ mark, also, name string }{
	{"Edg/", "", "Edge"},
	{"Edge/", "", "Edge"},
	{"EdgA/", "", "Edge Mobile"},
	{"EdgiOS/", "", "Edge Mobile"},
	{"OPR/", "", "Opera"},
	{"SamsungBrowser/", "", "Samsung Internet"},
	{"CriOS/", "", "Chrome Mobile iOS"},
	{"FxiOS/", "", "Firefox iOS"},
	{"Firefox/", "Android", "Firefox Mobile"},
	{"Firefox/", "", "Firefox"},
	{"HeadlessChrome/", "", "HeadlessChrome"},
	{"Chrome/", "; wv)", "Chrome Mobile WebView"},
	{"Chrome/", " Mobile ", "Chrome Mobile"},
	{"Chrome/", "", "Chrome"},
	{"MSIE ", "", "IE"},
	{"rv:", "Trident/", "IE"},
	{"Version/", "Mobile/", "Mobile Safari"},
	{"Version/", "Safari/", "Safari"},
	{"python-requests/", "", "Python Requests"},
	{"Python-urllib/", "", "Python-urllib"},
	{"okhttp/", "", "okhttp"},
	{"axios/", "", "axios"},
	{"curl/", "", "curl"},
	{"Wget/", "", "Wget"},
	{"Go-http-client/", "", "Go-http-client"},
	{"PostmanRuntime/", "", "PostmanRuntime"},
}

var systemMarks = []struct{ mark, name, device string }{
	{"Windows NT ", "Windows", "Other"},
	{"iPhone", "iOS", "iPhone"},
	{"iPad", "iOS", "iPad"},
	{"Android ", "Android", ""}, // the device is the model: not told from what stands around it
	{"Mac OS X ", "Mac OS X", "Mac"},
	{"CrOS ", "Chrome OS", "Other"},
	{"Ubuntu", "Ubuntu", "Other"},
	{"Linux", "Linux", "Other"},
}

// windowsVersions are the names of the versions of Windows NT.
var windowsVersions = map[string]string{"10.0": "10", "6.3": "8.1", "6.2": "8", "6.1": "7", "6.0": "Vista", "5.1": "XP"}

// A tenant has few different programs, and telling one costs dozens of
// searches: the last ones are remembered.
const (
	rememberedAgents = 512
	rememberedLength = 512
)

func (w *Worker) parseUserAgent(text []byte) {
	if known, ok := w.agents[string(text)]; ok {
		w.agent = known
		w.agent.source = text
		return
	}
	a := userAgent{source: text, name: "Other", device: "Other"}
	header := text
	if bytes.IndexByte(text, ' ') < 0 && bytes.IndexByte(text, '+') >= 0 {
		// As IIS logs it: its lines have blanks between fields.
		mark := len(w.text)
		w.text = append(w.text, text...)
		text = w.text[mark:len(w.text):len(w.text)]
		for i, c := range text {
			if c == '+' {
				text[i] = ' '
			}
		}
	}
	for i := range agentMarks {
		m := &agentMarks[i]
		if at := bytes.Index(text, []byte(m.mark)); at >= 0 && (m.also == "" || bytes.Contains(text, []byte(m.also))) {
			a.name, a.version = m.name, versionAt(text[at+len(m.mark):], 4)
			break
		}
	}
	for i := range systemMarks {
		m := &systemMarks[i]
		at := bytes.Index(text, []byte(m.mark))
		if at < 0 {
			continue
		}
		rest := text[at+len(m.mark):]
		a.osName, a.device = m.name, m.device
		switch m.name {
		case "Windows":
			mark := len(w.text)
			w.text = append(w.text, windowsVersions[string(versionAt(rest, 2))]...)
			a.osVersion = w.text[mark:len(w.text):len(w.text)]
		case "iOS":
			if i := bytes.Index(rest, []byte(" OS ")); i >= 0 {
				a.osVersion = w.dotted(versionAt(rest[i+4:], 3))
			}
		case "Mac OS X":
			a.osVersion = w.dotted(versionAt(rest, 3))
		case "Android":
			a.osVersion = versionAt(rest, 3)
		}
		break
	}
	w.agent = a
	if len(header) > rememberedLength {
		return
	}
	if w.agents == nil || len(w.agents) == rememberedAgents {
		w.agents = make(map[string]userAgent, rememberedAgents)
	}
	a.source, a.version, a.osVersion = nil, bytes.Clone(a.version), bytes.Clone(a.osVersion)
	w.agents[string(header)] = a
}

// versionAt returns the version that s begins with: up to parts numbers, with
// points or underscores between them.
func versionAt(s []byte, parts int) []byte {
	i := 0
	for ; i < len(s); i++ {
		if c := s[i]; c == '.' || c == '_' {
			if parts--; parts == 0 {
				break
			}
		} else if c-'0' > 9 {
			break
		}
	}
	return bytes.TrimRight(s[:i], "._")
}

// dotted returns 10_15_7 as 10.15.7.
func (w *Worker) dotted(version []byte) []byte {
	mark := len(w.text)
	for _, c := range version {
		if c == '_' {
			c = '.'
		}
		w.text = append(w.text, c)
	}
	return w.text[mark:len(w.text):len(w.text)]
}

func stepUserAgent(w *Worker, text []byte, part string) ([]byte, bool) {
	if !sameBytes(w.agent.source, text) { // several fields ask for the parts of one header
		w.parseUserAgent(text)
	}
	a := &w.agent
	mark := len(w.text)
	switch part {
	case "name":
		w.text = append(w.text, a.name...)
	case "version":
		return a.version, len(a.version) > 0
	case "os_name":
		w.text = append(w.text, a.osName...)
	case "os_version":
		return a.osVersion, len(a.osVersion) > 0
	case "os_full":
		if len(a.osVersion) == 0 {
			return nil, false
		}
		w.text = append(append(append(w.text, a.osName...), ' '), a.osVersion...)
	case "device":
		w.text = append(w.text, a.device...)
	}
	return w.text[mark:len(w.text):len(w.text)], len(w.text) > mark
}
