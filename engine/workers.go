package engine

import (
	"runtime"
	"sync"
)

// workers are the goroutines that functions run on. They are kept for the next function: a new goroutine begins with a small
// stack, and growing it by copying, again for every function, costs about a tenth of a mutation.
type workers struct {
	mu     sync.Mutex // guards all below
	idle   []*worker  // the one that worked last is the next to work
	closed bool
	ending sync.WaitGroup // of idle ones
}

type worker struct{ next chan *run }

// maxIdle bounds how many wait; each keeps 32 KiB or so.
const maxIdle = 128

// start runs r on a worker.
func (ws *workers) start(r *run) {
	ws.mu.Lock()
	n := len(ws.idle)
	if n == 0 {
		ws.mu.Unlock()
		w := &worker{next: make(chan *run, 1)}
		w.next <- r
		go ws.loop(w)
		return
	}
	w := ws.idle[n-1]
	ws.idle[n-1] = nil
	ws.idle = ws.idle[:n-1]
	ws.ending.Done()
	ws.mu.Unlock()
	w.next <- r
}

// rest keeps a worker whose function has returned, unless there are enough.
func (ws *workers) rest(w *worker) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed || len(ws.idle) >= maxIdle {
		return false
	}
	ws.idle = append(ws.idle, w)
	ws.ending.Add(1)
	return true
}

// loop is a worker's goroutine. It ends with the workers, or with a function that ends its goroutine.
//
//go:noinline
func (ws *workers) loop(w *worker) {
	// The garbage collector halves a stack of which less than a quarter is used. This uses a quarter of 32 KiB, which is what
	// most functions need.
	var ballast [9 << 10]byte
	for {
		r := <-w.next
		if r == nil {
			ws.ending.Done()
			break
		}
		r.do()
		if !ws.rest(w) {
			break
		}
	}
	runtime.KeepAlive(&ballast)
}

// close ends the workers that rest, and waits for them; those that are in an abandoned function end with that.
func (ws *workers) close() {
	ws.mu.Lock()
	ws.closed = true
	for _, w := range ws.idle {
		close(w.next)
	}
	ws.idle = nil
	ws.mu.Unlock()
	ws.ending.Wait()
}
