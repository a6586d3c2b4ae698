package recordid

import (
	"net/netip"
	"testing"
)

func TestFlows(t *testing.T) {
	s, other := New(7), New(8)
	addresses := map[netip.Addr]bool{}
	foreign := 0
	for i := range uint64(5000) {
		for _, n := range []uint64{i, i + 1<<25, MaxFlow - i} {
			for _, want := range []Flow{{Number: n}, {Number: n, Begun: true}, {Number: n, Private: true}, {Number: n, Begun: true, Private: true}} {
				address, port := s.Place(want)
				got, ok := s.ParsePlace(address, port)
				want.Private = want.Private && n < 1<<26
				if !ok || got != want {
					t.Fatalf("%+v at %s port %d is read as %+v, %v", want, address, port, got, ok)
				}
				if address.IsPrivate() != want.Private || address.IsLoopback() || address.IsMulticast() || !address.IsGlobalUnicast() {
					t.Fatalf("%+v is at %s", want, address)
				}
				addresses[address] = true
				if _, ok := other.ParsePlace(address, port); ok {
					foreign++
				}
				if _, ok := s.ParsePlace(address, port^1); ok {
					foreign++
				}
			}
		}
	}
	if len(addresses) < 10_000 {
		t.Errorf("only %d addresses", len(addresses))
	}
	if foreign > 100 { // of 120,000
		t.Errorf("%d wrong places were taken for right ones", foreign)
	}
	for _, address := range []string{"::1", "127.0.0.1", "10.20.0.4", "192.168.0.1"} {
		if _, ok := s.ParsePlace(netip.MustParseAddr(address), 40000); ok {
			t.Errorf("%s is taken for a far side", address)
		}
	}
}
