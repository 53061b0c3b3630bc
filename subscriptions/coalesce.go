package subscriptions

import (
	"bufio"
	"net"
	"net/http"
	"sync"
)

// coalesceBytes is how much is gathered before it is written all the same.
const coalesceBytes = 32 << 10

// coalescer is a connection that, while it is held, gathers what is written and writes it at once: a socket that has many
// small messages to send spends most of its time in system calls otherwise.
type coalescer struct {
	net.Conn
	mu   sync.Mutex
	held bool   // guarded by mu
	buf  []byte // guarded by mu
}

// Write writes p, or keeps it until release. Deadlines are those of the write that takes place.
func (c *coalescer) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held && len(c.buf)+len(p) <= coalesceBytes {
		c.buf = append(c.buf, p...)
		return len(p), nil
	}
	if err := c.flush(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush writes what was kept, and then p. c.mu is held.
func (c *coalescer) flush(p []byte) error {
	parts := make(net.Buffers, 0, 2)
	for _, b := range [][]byte{c.buf, p} {
		if len(b) > 0 {
			parts = append(parts, b)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	_, err := parts.WriteTo(c.Conn)
	c.buf = c.buf[:0]
	return err
}

// hold begins to gather.
func (c *coalescer) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = true
}

// release writes what was gathered.
func (c *coalescer) release() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = false
	err := c.flush(nil)
	c.buf = nil // an idle socket keeps no buffer
	return err
}

// coalescing makes the connection that is taken over from an HTTP server a coalescer.
type coalescing struct {
	http.ResponseWriter
	conn *coalescer // after Hijack
}

// Hijack takes the connection over, through whatever middleware has wrapped the writer.
func (c *coalescing) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(c.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	c.conn = &coalescer{Conn: conn}
	return c.conn, rw, nil
}
