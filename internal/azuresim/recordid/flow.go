package recordid

import "net/netip"

// Records of network traffic have no id. What tells one of them is between whom
// it was: the address of the far side and the port that the side which began it
// had. A Flow is a number in these two.

// MaxFlow is the largest number that a Flow can carry.
const MaxFlow = 1<<flowNumberBits - 1

const (
	portBits       = 15 // of ports from firstPort on, which are given to who begins
	firstPort      = 1 << portBits
	flowNumberBits = 30
	publicBits     = 29 + portBits // five bits of public networks, 24 of addresses in them
	privateNumber  = 26
	privateBits    = 23 + portBits // 10.128.0.0/9
	privateFirst   = 10
	privateSecond  = 128
)

// publicFirst are first bytes of addresses of which all are public.
var publicFirst = [32]byte{
	5, 13, 20, 23, 31, 34, 40, 45, 51, 52, 54, 62, 66, 77, 80, 85,
	89, 91, 93, 95, 101, 103, 104, 109, 118, 134, 142, 151, 162, 176, 185, 193,
}

// Flow is where a number stands. Begun is whether the record is the first of
// two, of which the other has the next number and the same Flow; an address and
// a port alone do not tell the two apart.
type Flow struct {
	Number  uint64
	Begun   bool
	Private bool // an address of the organization, if the number is not too large
}

// Place returns the far side's address and the port of who began.
func (s Space) Place(f Flow) (netip.Addr, uint16) {
	number, bits := uint(flowNumberBits), uint(publicBits)
	private := f.Private && f.Number < 1<<privateNumber
	if private {
		number, bits = privateNumber, privateBits
	}
	v := f.Number & (1<<number - 1)
	if f.Begun {
		v |= 1 << number
	}
	v |= s.flowCheck(v) << (number + 1)
	v = (v*scatter ^ s.seed) & (1<<bits - 1)
	at := v >> portBits
	address := [4]byte{publicFirst[at>>24&31], byte(at >> 16), byte(at >> 8), byte(at)}
	if private {
		address[0], address[1] = privateFirst, privateSecond|byte(at>>16)
	}
	return netip.AddrFrom4(address), firstPort + uint16(v&(firstPort-1))
}

// ParsePlace returns the flow that Place put there. It reports false for every
// other address and port, but one in some thousands.
func (s Space) ParsePlace(address netip.Addr, port uint16) (f Flow, ok bool) {
	address = address.Unmap()
	if !address.Is4() || port < firstPort {
		return f, false
	}
	a := address.As4()
	number, bits := uint(flowNumberBits), uint(publicBits)
	at := uint64(a[1])<<16 | uint64(a[2])<<8 | uint64(a[3])
	switch {
	case a[0] == privateFirst && a[1] >= privateSecond:
		f.Private, number, bits = true, privateNumber, privateBits
		at &= 1<<23 - 1
	default:
		first := uint64(len(publicFirst))
		for i, b := range publicFirst {
			if b == a[0] {
				first = uint64(i)
			}
		}
		if first == uint64(len(publicFirst)) {
			return f, false
		}
		at |= first << 24
	}
	v := ((at<<portBits | uint64(port-firstPort)) ^ s.seed) * s.unscatter & (1<<bits - 1)
	body := v & (1<<(number+1) - 1)
	if v>>(number+1) != s.flowCheck(body)&(1<<(bits-number-1)-1) {
		return f, false
	}
	f.Number, f.Begun = body&(1<<number-1), body>>number == 1
	return f, true
}

func (s Space) flowCheck(v uint64) uint64 { return Mix(s.seed ^ Mix(^v)) }
