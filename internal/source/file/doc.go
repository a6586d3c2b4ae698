// Package file reads files of this machine: logs that another program appends
// to and rotates, or files that are there once.
//
// A partition is a file, by its device and inode, so that a rotated file is read
// on under its new name. A payload is a line, or a whole file; its position is
// the offset of its first byte. A cursor says how far a file was read and how it
// begins: a file that begins otherwise is another one, whatever its inode.
//
// Invariant: a line is emitted when its line feed is there, or when nothing will
// follow it. The package must not know what the lines mean.
package file
