// Package promengine hands the metrics of a database to Prometheus.
//
//	registry := prometheus.NewRegistry()
//	registry.MustRegister(promengine.NewCollector(db))
//	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
//
// The metrics are those of [engine.Metrics], which says what each means, read anew for every scrape. Durations are in seconds.
// A program with several databases registers each with labels of its own, by prometheus.WrapRegistererWith.
//
// What it does not have: metrics of the Go runtime and of the process, which client_golang's collectors package has.
package promengine
