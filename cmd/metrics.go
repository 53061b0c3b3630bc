package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/promengine"
)

// metricsServer serves the metrics to Prometheus, at an address of its own: they are not for those who use the application.
type metricsServer struct {
	http *http.Server
	done chan struct{}
}

// listenMetrics takes the port of --metrics; nil without the flag.
func (p *program) listenMetrics(ctx context.Context) (net.Listener, error) {
	if p.metrics == "" {
		return nil, nil
	}
	return listen(ctx, p.metrics, "--metrics")
}

// startMetrics serves a database's metrics, those of the Go runtime and of the process. l is nil, or is closed by close.
func startMetrics(l net.Listener, db *engine.DB, logger *slog.Logger) *metricsServer {
	if l == nil {
		return nil
	}
	registry := prometheus.NewRegistry() // not the default one: a process may serve more than one program
	registry.MustRegister(promengine.NewCollector(db), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	warnings := slog.NewLogLogger(logger.Handler(), slog.LevelWarn)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry, ErrorLog: warnings}))
	m := &metricsServer{
		http: &http.Server{
			Handler: mux, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: time.Minute, IdleTimeout: 2 * time.Minute,
			MaxHeaderBytes: 64 << 10, ErrorLog: warnings,
		},
		done: make(chan struct{}),
	}
	logger.Info("metrics are served", "url", fmt.Sprintf("http://%s/metrics", l.Addr()))
	go func() {
		defer close(m.done)
		if err := m.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("metrics are not served any more", "error", err) // the application goes on
		}
	}()
	return m
}

// close ends it; a scrape that is under way is cut off.
func (m *metricsServer) close() {
	if m == nil {
		return
	}
	_ = m.http.Close() // nothing is lost
	<-m.done
}
