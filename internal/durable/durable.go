// Package durable holds what makes files survive a crash of the process or of
// the machine: locks, syncs, and the cut of a line that was half written.
package durable

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// ErrLocked is returned by Lock when another process has the lock.
var ErrLocked = errors.New("locked by another process")

// Lock takes an advisory lock on f, which ends when f is closed or with the
// process. Without wait it returns ErrLocked at once if the lock is taken.
func Lock(f *os.File, wait bool) error {
	how := syscall.LOCK_EX
	if !wait {
		how |= syscall.LOCK_NB
	}
	for {
		err := syscall.Flock(int(f.Fd()), how)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrLocked
		}
		return err
	}
}

// OpenLock opens a lock file, made if absent, and locks it. Closing it gives
// the lock up.
func OpenLock(path string, wait bool) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := Lock(f, wait); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// SyncDir makes the names in a folder durable: after a file is made, renamed or
// removed, its content may survive a crash of the machine and its name not.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ReplaceFile replaces the file at path by data: after a crash at any moment it
// holds the old content or the new. A leftover path.tmp may remain.
func ReplaceFile(path string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// CutTornLine cuts what stands behind the last line feed of f: a line that was
// half written at a crash. It returns the size that is left and what was cut.
func CutTornLine(f *os.File) (size, cut int64, err error) {
	size, err = f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, 0, err
	}
	block := make([]byte, 64<<10)
	for end := size; end > 0; {
		start := max(0, end-int64(len(block)))
		part := block[:end-start]
		if _, err := f.ReadAt(part, start); err != nil {
			return 0, 0, err
		}
		if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
			whole := start + int64(i) + 1
			if whole == size {
				return size, 0, nil
			}
			return whole, size - whole, f.Truncate(whole)
		}
		end = start
	}
	if size == 0 {
		return 0, 0, nil
	}
	return 0, size, f.Truncate(0)
}
