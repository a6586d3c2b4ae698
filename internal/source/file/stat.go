package file

import (
	"errors"
	"os"
	"syscall"
)

// identity returns the device and the inode of a file.
func identity(info os.FileInfo) (dev, ino uint64, err error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, errors.New("the file system tells no inodes")
	}
	return uint64(stat.Dev), stat.Ino, nil //nolint:unconvert // Dev has other types elsewhere
}
