package normalize

import (
	"time"
)

// parseTime reads the forms in which Azure writes a time, and says whether the
// text is already RFC 3339 in UTC with at least milliseconds, so that it can be
// passed on as it is:
//
//	2022-01-24T05:10:08.6816663Z       diagnostic settings; 0 to 9 decimals seen
//	2022-01-24T05:10:08.681+00:00      with an offset
//	2022-01-24T9:59:27.958Z            one digit for the hour
//	2022-01-24 05:10:08.681            a blank for the T, or no zone: UTC
//	8/22/2022 6:11:52 PM               risk logs and AD FS: month first, 12 hours
//	05/28/2025 01:15:14                Functions: month first, 24 hours
//	11/3/2020 9:06:42 AM +00:00        Event Hubs and Service Bus
//	1166786461, 1166786461000          Unix seconds and milliseconds
//
// Times without a zone are UTC: all of Azure's are.
func parseTime(b []byte) (t time.Time, canonical, ok bool) {
	if len(b) < 8 {
		return t, false, false
	}
	if t, canonical, ok = parseUsual(b); ok {
		return t, canonical, true
	}
	return parseAny(b)
}

func parseAny(b []byte) (t time.Time, canonical, ok bool) {
	p := timeParser{b: b}
	first, n := p.digits(10)
	switch {
	case n == 4 && p.take('-'):
		return p.iso(first)
	case n <= 2 && p.take('/'):
		return p.us(first)
	case n >= 9:
		return p.unix(first)
	}
	return t, false, false
}

// parseUsual reads 2022-01-24T05:10:08.6816663Z, with three to nine decimals, and the
// same with +00:00: what most records have. Anything else it leaves to the others.
func parseUsual(b []byte) (t time.Time, canonical, ok bool) {
	end := len(b)
	if end < len("2022-01-24T05:10:08.681Z") {
		return t, false, false
	}
	if canonical = b[end-1] == 'Z'; canonical {
		end--
	} else if end -= len("+00:00"); string(b[end:]) != "+00:00" {
		return t, false, false
	}
	decimals := end - len("2022-01-24T05:10:08.")
	if decimals < 3 || decimals > 9 || b[4] != '-' || b[7] != '-' || b[10] != 'T' || b[13] != ':' || b[16] != ':' || b[19] != '.' {
		return t, false, false
	}
	wrong := byte(0) // more than 9 if a byte was no digit
	two := func(i int) int {
		tens, ones := b[i]-'0', b[i+1]-'0'
		wrong = max(wrong, tens, ones)
		return int(tens)*10 + int(ones)
	}
	year, month, day := two(0)*100+two(2), two(5), two(8)
	hour, minute, second := two(11), two(14), two(17)
	nanos := 0
	for _, c := range b[20:end] {
		wrong = max(wrong, c-'0')
		nanos = nanos*10 + int(c-'0')
	}
	for range 9 - decimals {
		nanos *= 10
	}
	if wrong > 9 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 59 {
		return t, false, false
	}
	return time.Unix(unixDay(year, month, day)*86400+int64(hour*3600+minute*60+second), int64(nanos)).UTC(), canonical, true
}

// unixDay returns the days since 1970 of a day of the Gregorian calendar, from the
// year 0 on. It counts years from March, so that the leap day is the last.
func unixDay(year, month, day int) int64 {
	if month <= 2 {
		year, month = year-1, month+12
	}
	return int64(365*year + (year+400)/4 - (year+400)/100 + (year+400)/400 - 97 + (153*(month-3)+2)/5 + day - 719469)
}

type timeParser struct {
	b []byte
	i int
}

// digits reads up to most digits.
func (p *timeParser) digits(most int) (v, n int) {
	for n < most && p.i < len(p.b) && p.b[p.i]-'0' <= 9 {
		v = v*10 + int(p.b[p.i]-'0')
		p.i++
		n++
	}
	return v, n
}

func (p *timeParser) take(c byte) bool {
	if p.i < len(p.b) && p.b[p.i] == c {
		p.i++
		return true
	}
	return false
}

func (p *timeParser) done() bool { return p.i == len(p.b) }

// clock reads h:mm:ss and, after a point or comma, up to nine decimals.
func (p *timeParser) clock() (hour, minute, second, nanos, hourDigits, decimals int, ok bool) {
	var n int
	if hour, hourDigits = p.digits(2); hourDigits == 0 || !p.take(':') {
		return
	}
	if minute, n = p.digits(2); n != 2 {
		return
	}
	if p.take(':') {
		if second, n = p.digits(2); n != 2 {
			return
		}
		if p.take('.') || p.take(',') {
			if nanos, decimals = p.digits(9); decimals == 0 {
				return
			}
			for k := decimals; k < 9; k++ {
				nanos *= 10
			}
			for p.i < len(p.b) && p.b[p.i]-'0' <= 9 { // finer than a nanosecond
				p.i++
				decimals++
			}
		}
	}
	ok = hour <= 24 && minute <= 59 && second <= 60
	return
}

// zone reads Z, ±hh:mm, ±hhmm, ±hh or nothing, and returns seconds east of UTC.
func (p *timeParser) zone() (offset int, zulu, ok bool) {
	p.take(' ')
	switch {
	case p.done():
		return 0, false, true
	case p.take('Z') || p.take('z'):
		return 0, true, p.done()
	}
	sign := 1
	if p.take('-') {
		sign = -1
	} else if !p.take('+') {
		return 0, false, false
	}
	hours, n := p.digits(2)
	if n != 2 {
		return 0, false, false
	}
	minutes := 0
	if p.take(':'); !p.done() {
		if minutes, n = p.digits(2); n != 2 {
			return 0, false, false
		}
	}
	if hours > 23 || minutes > 59 {
		return 0, false, false
	}
	return sign * (hours*3600 + minutes*60), false, p.done()
}

func (p *timeParser) iso(year int) (t time.Time, canonical, ok bool) {
	month, n := p.digits(2)
	if n != 2 || !p.take('-') {
		return t, false, false
	}
	day, n := p.digits(2)
	if n != 2 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return t, false, false
	}
	separator := p.take('T')
	if !separator && !p.take(' ') && !p.take('t') {
		return t, false, false
	}
	hour, minute, second, nanos, hourDigits, decimals, ok := p.clock()
	if !ok {
		return t, false, false
	}
	offset, zulu, ok := p.zone()
	if !ok {
		return t, false, false
	}
	canonical = separator && zulu && hourDigits == 2 && hour < 24 && second < 60 &&
		decimals >= 3 && decimals <= 9 && p.b[len(p.b)-1] == 'Z' && p.b[19] == '.'
	return time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC).
		Add(-time.Duration(offset) * time.Second), canonical, true
}

// us reads month first dates: that every slashed date of Azure is month first
// is what all samples of RiskyUsers, UserRiskEvents, ADFSSignInLogs,
// FunctionAppLogs and OperationalLogs show.
func (p *timeParser) us(month int) (t time.Time, canonical, ok bool) {
	day, n := p.digits(2)
	if n == 0 || !p.take('/') {
		return t, false, false
	}
	year, n := p.digits(4)
	if n != 4 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || !p.take(' ') {
		return t, false, false
	}
	hour, minute, second, nanos, _, _, ok := p.clock()
	if !ok {
		return t, false, false
	}
	if p.take(' '); p.i+1 < len(p.b) && p.b[p.i+1]|0x20 == 'm' {
		if hour < 1 || hour > 12 {
			return t, false, false
		}
		switch p.b[p.i] | 0x20 {
		case 'a':
			hour %= 12
		case 'p':
			hour = hour%12 + 12
		default:
			return t, false, false
		}
		p.i += 2
	}
	offset, _, ok := p.zone()
	if !ok {
		return t, false, false
	}
	return time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC).
		Add(-time.Duration(offset) * time.Second), false, true
}

// unix reads seconds (9 or 10 digits), milliseconds (13), microseconds (16) or
// nanoseconds (19) since 1970.
func (p *timeParser) unix(v int) (t time.Time, canonical, ok bool) {
	total := int64(v)
	for ; !p.done() && len(p.b) <= 19; p.i++ {
		c := p.b[p.i] - '0'
		if c > 9 {
			return t, false, false
		}
		total = total*10 + int64(c)
	}
	if total < 0 { // 19 digits reach over 2^63
		return t, false, false
	}
	switch len(p.b) {
	case 9, 10:
		return time.Unix(total, 0).UTC(), false, true
	case 13:
		return time.UnixMilli(total).UTC(), false, true
	case 16:
		return time.UnixMicro(total).UTC(), false, true
	case 19:
		return time.Unix(total/1e9, total%1e9).UTC(), false, true
	}
	return t, false, false
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// appendTime appends t as RFC 3339 in UTC with as many decimals as it needs,
// at least three.
func appendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(dst, "2006-01-02T15:04:05.000000000Z")
	}
	hour, minute, second := t.Clock()
	dst = appendTwo(appendTwo(dst, year/100), year%100)
	dst = appendTwo(append(dst, '-'), int(month))
	dst = appendTwo(append(dst, '-'), day)
	dst = appendTwo(append(dst, 'T'), hour)
	dst = appendTwo(append(dst, ':'), minute)
	dst = appendTwo(append(dst, ':'), second)
	dst = append(dst, '.')
	for rest, unit := t.Nanosecond(), 100_000_000; rest > 0 || unit >= 1_000_000; unit /= 10 {
		dst = append(dst, byte('0'+rest/unit))
		rest %= unit
		if unit == 1 {
			break
		}
	}
	return append(dst, 'Z')
}

func appendTwo(dst []byte, v int) []byte { return append(dst, byte('0'+v/10), byte('0'+v%10)) }
