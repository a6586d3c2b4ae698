package graph

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// query is a request for a page of a collection.
type query struct {
	top    int
	skip   int
	count  bool
	expand bool
	where  condition
	order  order
	after  *position // nil: the first page
}

func (q *query) continues() bool { return q.after != nil || q.skip > 0 }

// position stands behind an object.
type position struct {
	at     int64
	number uint64
}

// The token is as opaque as Graph's, and holds its own check digit.
func (p position) token() string {
	text := fmt.Sprintf("%d.%d", p.at, p.number)
	return base64.RawURLEncoding.EncodeToString([]byte(fmt.Sprintf("%s.%d", text, checksum(text))))
}

func checksum(text string) (sum uint16) {
	for i := range len(text) {
		sum = sum*31 + uint16(text[i])
	}
	return sum
}

func parseToken(token string) (p position, ok bool) {
	plain, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return p, false
	}
	var sum uint16
	if n, err := fmt.Sscanf(string(plain), "%d.%d.%d", &p.at, &p.number, &sum); n != 3 || err != nil {
		return p, false
	}
	return p, sum == checksum(fmt.Sprintf("%d.%d", p.at, p.number))
}

// parseQuery reads the query options that the resource takes; others are refused.
func parseQuery(r *resource, given url.Values) (q query, err error) {
	q.top, q.order = r.top, order{descending: true}
	for name, values := range given {
		value := values[0]
		switch {
		case name == "$filter":
			q.where, err = parseFilter(r, value)
		case name == "$top":
			q.top, err = strconv.Atoi(value)
			switch {
			case err != nil || q.top < 1:
				err = says("Invalid value '%s' for $top query option found. The $top query option requires a non-negative integer value.", value)
			case q.top > r.maxTop:
				err = says("The limit of '%d' for Top query has been exceeded. The value from the incoming request is '%d'.", r.maxTop, q.top)
			}
		case name == "$orderby" && r.orderBy:
			fields := strings.Fields(value)
			if len(fields) == 0 || len(fields) > 2 || r.timeIndex(fields[0]) < 0 || len(fields) == 2 && fields[1] != "asc" && fields[1] != "desc" {
				err = says("Invalid $orderby '%s'.", value)
				break
			}
			q.order = order{member: r.timeIndex(fields[0]), descending: len(fields) == 2 && fields[1] == "desc"}
		case name == "$skip" && r.skip:
			if q.skip, err = strconv.Atoi(value); err != nil || q.skip < 0 {
				err = says("Invalid value '%s' for $skip query option found.", value)
			}
		case name == "$count" && r.count:
			q.count = value == "true"
		case name == "$expand" && slices.Contains(r.expand, value):
			q.expand = true
		case name == "$skiptoken" && r.paging == byToken:
			after, ok := parseToken(value)
			if !ok {
				err = says("Skip token is not valid.")
			}
			q.after = &after
		default:
			err = says("The query parameter '%s' is not supported.", name)
		}
		if err != nil {
			return q, err
		}
	}
	return q, nil
}

// page is a part of a selection.
type page struct {
	objects []*object
	total   int
	next    url.Values // what continues it; nil: nothing
}

// cut takes the page that q asks for out of the chosen objects. It begins with so
// many of the page before as are to be repeated.
func (c *collection) cut(q query, chosen []*object, given url.Values, repeat int) page {
	p := page{total: len(chosen)}
	from := min(q.skip, len(chosen))
	if q.after != nil {
		behind := &object{times: make([]int64, len(c.times)), number: q.after.number}
		behind.times[q.order.member] = q.after.at
		for from < len(chosen) && q.order.compare(chosen[from], behind) <= 0 {
			from++
		}
	}
	end := min(from+q.top, len(chosen))
	if q.continues() {
		from = max(from-repeat, 0)
	}
	p.objects = chosen[from:end]
	if end == len(chosen) {
		return p
	}
	p.next = url.Values{}
	for name, values := range given {
		p.next[name] = values
	}
	if c.paging == byOffset {
		p.next.Set("$skip", strconv.Itoa(end))
		return p
	}
	last := chosen[end-1]
	p.next.Set("$skiptoken", position{last.times[q.order.member], last.number}.token())
	return p
}

// write puts a page together. Graph's order is context, count, nextLink, value.
func (s *Server) write(r *http.Request, version string, c *collection, q query, p page, wrong answer) reply {
	var body bytes.Buffer
	base := "https://" + r.Host
	fmt.Fprintf(&body, `{"@odata.context":%s`, quote(base+"/"+version+"/$metadata#"+c.path))
	if q.count {
		fmt.Fprintf(&body, `,"@odata.count":%d`, p.total)
	}
	link := ""
	if p.next != nil {
		to := *r.URL
		to.RawQuery = p.next.Encode()
		if wrong.loop {
			to.RawQuery = r.URL.RawQuery
		}
		link = base + to.RequestURI()
		if wrong.foreign != "" {
			link = "https://" + wrong.foreign + to.RequestURI()
		}
		link = `,"@odata.nextLink":` + quote(link)
	}
	if !wrong.linkLast {
		body.WriteString(link)
	}
	body.WriteString(`,"value":[`)
	for i, o := range p.objects {
		if i > 0 {
			body.WriteByte(',')
		}
		if q.expand {
			body.Write(s.expanded(o))
			continue
		}
		body.Write(o.raw)
	}
	body.WriteByte(']')
	if wrong.linkLast {
		body.WriteString(link)
	}
	body.WriteByte('}')
	return reply{http.StatusOK, http.Header{
		"Content-Type":  {"application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"},
		"Odata-Version": {"4.0"},
	}, body.Bytes(), wrong.cut}
}

// expanded is an incident with its alerts.
func (s *Server) expanded(incident *object) []byte {
	out := append(bytes.TrimSuffix(slices.Clone(incident.raw), []byte("}")), `,"alerts":[`...)
	first := true
	for _, alert := range s.collection("security/alerts_v2").objects {
		if alert.member("incidentId") == incident.id {
			if !first {
				out = append(out, ',')
			}
			first = false
			out = append(out, alert.raw...)
		}
	}
	return append(out, "]}"...)
}
