//go:build unix

package live

import "golang.org/x/sys/unix"

// canTry says whether tryWrite does anything here.
const canTry = true

// tryWrite writes what the socket takes at once. Sockets of the runtime never block.
func tryWrite(fd uintptr, p []byte) (int, error) {
	for {
		n, err := unix.Write(int(fd), p)
		switch err {
		case nil:
			return n, nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, nil
		default:
			return 0, err
		}
	}
}
