package syslog

import (
	"net"

	"golang.org/x/sys/unix"
)

// tcpEstablished is the state of a connection that neither side has closed or
// reset (enum in linux/tcp_states.h).
const tcpEstablished = 1

// unacknowledged returns how many bytes the receiver's system has not
// acknowledged (tcp(7), SIOCOUTQ), and whether the connection is still open on
// both sides. The order matters: a reset empties the queue.
func unacknowledged(c *net.TCPConn) (n int, open bool, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false, err
	}
	failed := raw.Control(func(fd uintptr) {
		if n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err != nil {
			return
		}
		var info *unix.TCPInfo
		if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			open = info.State == tcpEstablished
		}
	})
	if failed != nil {
		return 0, false, failed
	}
	return n, open, err
}
