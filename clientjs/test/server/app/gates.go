package main

import (
	"context"
	"net/http"
	"sync"
)

// gates let a test decide from outside how far a function gets: it waits at a gate, the test learns that it is there, and
// opens the gate or ends the process.
type gates struct {
	mu     sync.Mutex
	byName map[string]*gate // guarded by mu
}

type gate struct {
	arrived, opened      chan struct{}
	arriveOnce, openOnce sync.Once
}

func newGates() *gates { return &gates{byName: map[string]*gate{}} }

func (g *gates) get(name string) *gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.byName[name]
	if one == nil {
		one = &gate{arrived: make(chan struct{}), opened: make(chan struct{})}
		g.byName[name] = one
	}
	return one
}

// pass waits until the gate is open, which it then stays.
func (g *gates) pass(ctx context.Context, name string) error {
	one := g.get(name)
	one.arriveOnce.Do(func() { close(one.arrived) })
	select {
	case <-one.opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// routes adds the test's side: GET /gates/{name} is answered when somebody has arrived there, POST /gates/{name} opens it.
func (g *gates) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /gates/{name}", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-g.get(r.PathValue("name")).arrived:
			w.WriteHeader(http.StatusNoContent)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("POST /gates/{name}", func(w http.ResponseWriter, r *http.Request) {
		one := g.get(r.PathValue("name"))
		one.openOnce.Do(func() { close(one.opened) })
		w.WriteHeader(http.StatusNoContent)
	})
}
