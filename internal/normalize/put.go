package normalize

// put.go copies short runs of bytes without a call: most texts and values of an event
// are short, and a call costs as much as the copy.

// shortRun is how many bytes are copied at once, whether or not all are wanted.
const shortRun = 32

// appendRun appends src[from:to].
func appendRun(dst, src []byte, from, to int) []byte {
	n := len(dst)
	if to-from > shortRun || from+shortRun > len(src) || n+shortRun > cap(dst) {
		return append(dst, src[from:to]...)
	}
	run := *(*[shortRun]byte)(src[from:])
	*(*[shortRun]byte)(dst[n : n+shortRun]) = run
	return dst[:n+to-from]
}
