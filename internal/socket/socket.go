// Package socket has TCP connections read and written by system calls that the
// runtime's scheduler isn't told of.
//
// A goroutine in an ordinary system call gives up its processor when the call
// takes longer than some 20 µs, and a thread of the runtime looks for such
// calls as often, as long as there are any (runtime/proc.go: entersyscall,
// sysmon, retake). On a connection that doesn't block there is nothing to wait
// for: what takes so long is the kernel that hands the bytes to a neighbour, or
// another program that has the processor. Where nothing can be read or written
// yet, the goroutine waits in the runtime's poller, as ever.
package socket

// most bounds what one system call moves, in bytes: for so long no collector
// and no other goroutine gets at the processor.
const most = 256 << 10
