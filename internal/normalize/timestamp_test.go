package normalize

import (
	"testing"
	"time"
)

// TestUsualTimes holds what is read at once against the way that reads all forms, for
// times and for texts that differ from one by a byte.
func TestUsualTimes(t *testing.T) {
	usual := 0
	for _, s := range []string{
		"2022-01-24T05:10:08.6816663Z", "2024-02-29T23:59:59.999999999Z", "1900-03-01T00:00:00.000Z", "2000-02-29T12:30:45.120+00:00",
		"0000-01-01T00:00:00.000Z", "9999-12-31T23:59:59.1234567+00:00", "2023-02-29T00:00:00.000Z", "1970-01-01T00:00:00.001Z",
	} {
		for i := range s {
			for _, c := range []byte("01359:-+.,TZ z\xff") {
				b := []byte(s)
				b[i] = c
				got, canonical, ok := parseUsual(b)
				if !ok {
					continue
				}
				usual++
				want, wantCanonical, wantOK := parseAny(b)
				if got != want || canonical != wantCanonical || !wantOK {
					t.Fatalf("%s is %v %t, want %v %t %t", b, got, canonical, want, wantCanonical, wantOK)
				}
			}
		}
	}
	if usual < 500 {
		t.Errorf("only %d were read at once", usual)
	}
}

func TestAppendTime(t *testing.T) {
	for nanos, want := range map[int]string{
		0: "000", 1: "000000001", 120_000_000: "120", 123_000_000: "123", 123_400_000: "1234", 999_999_999: "999999999", 50_000: "00005",
	} {
		if got, want := string(appendTime(nil, time.Date(2024, 2, 9, 1, 2, 3, nanos, time.UTC))), "2024-02-09T01:02:03."+want+"Z"; got != want {
			t.Errorf("%d ns: %s, want %s", nanos, got, want)
		}
	}
}
