// Package file delivers events to a file, one JSON object a line.
//
// Deliver returns nil only after fsync, so what is confirmed survives a crash of
// the machine. A line that was half written when the process died was never
// confirmed; it is cut off at the next start. The active file is always plain
// text; rotated files are compressed.
package file
