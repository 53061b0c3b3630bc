package promengine

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mimosadb/mimosa/engine"
)

// Source is what is measured: an *engine.DB.
type Source interface{ Metrics() engine.Metrics }

// NewCollector returns a collector of a database's metrics. It is safe for concurrent use, and goes on telling the last numbers
// after the database was closed.
func NewCollector(db Source) prometheus.Collector { return collector{db} }

type collector struct{ db Source }

// Describe implements [prometheus.Collector].
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range metrics {
		ch <- m.desc
	}
}

// Collect implements [prometheus.Collector].
func (c collector) Collect(ch chan<- prometheus.Metric) {
	m := c.db.Metrics()
	for _, x := range metrics {
		x.collect(x.desc, m, ch)
	}
}

type metric struct {
	desc    *prometheus.Desc
	collect func(*prometheus.Desc, engine.Metrics, chan<- prometheus.Metric)
}

func counter(name, help string, value func(engine.Metrics) uint64) metric {
	return metric{describe(name, help), func(d *prometheus.Desc, m engine.Metrics, ch chan<- prometheus.Metric) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value(m)))
	}}
}

func gauge(name, help string, value func(engine.Metrics) float64) metric {
	return metric{describe(name, help), func(d *prometheus.Desc, m engine.Metrics, ch chan<- prometheus.Metric) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value(m))
	}}
}

func histogram(name, help string, value func(engine.Metrics) engine.Histogram) metric {
	return metric{describe(name, help), func(d *prometheus.Desc, m engine.Metrics, ch chan<- prometheus.Metric) {
		ch <- constHistogram(d, value(m))
	}}
}

// byKind is one metric for each kind of function.
func byKind(name, help string, value func(*prometheus.Desc, engine.FunctionMetrics, string) prometheus.Metric) metric {
	return metric{describe(name, help, "kind"), func(d *prometheus.Desc, m engine.Metrics, ch chan<- prometheus.Metric) {
		ch <- value(d, m.Queries, "query")
		ch <- value(d, m.Mutations, "mutation")
		ch <- value(d, m.Actions, "action")
	}}
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("mimosa_"+name, help, labels, nil)
}

// constHistogram turns counts a bucket into counts up to a bucket, which is what Prometheus keeps.
func constHistogram(d *prometheus.Desc, h engine.Histogram, labels ...string) prometheus.Metric {
	buckets := make(map[float64]uint64, len(h.Bounds))
	var upTo uint64
	for i, bound := range h.Bounds {
		upTo += h.Counts[i]
		buckets[bound] = upTo
	}
	return prometheus.MustNewConstHistogram(d, h.Count, h.Sum, buckets, labels...)
}

var metrics = []metric{
	counter("commits_total", "Groups of mutations that the store has made durable.", func(m engine.Metrics) uint64 { return m.Commits }),
	counter("committed_mutations_total", "Mutations that have become durable.", func(m engine.Metrics) uint64 { return m.Committed }),
	counter("written_rows_total", "Rows of documents, index entries and records that commits wrote.", func(m engine.Metrics) uint64 { return m.Rows }),
	counter("written_bytes_total", "Bytes of keys, values and log that commits wrote.", func(m engine.Metrics) uint64 { return m.Bytes }),
	histogram("commit_group_mutations", "Mutations in a group.", func(m engine.Metrics) engine.Histogram { return m.GroupSize }),
	histogram("commit_duration_seconds", "How long the store took for a group, its fsync included.", func(m engine.Metrics) engine.Histogram { return m.CommitTime }),

	counter("conflicts_total", "Mutations that met what another had written while they ran.", func(m engine.Metrics) uint64 { return m.Conflicts }),
	counter("retries_total", "Runs of mutations that were repetitions.", func(m engine.Metrics) uint64 { return m.Retries }),
	counter("reservations_total", "Mutations that had what they read kept free after many conflicts.", func(m engine.Metrics) uint64 { return m.Reservations }),
	counter("busy_total", "Mutations that failed as busy.", func(m engine.Metrics) uint64 { return m.Busy }),

	gauge("running_mutations", "Mutations that run or wait for their commit.", func(m engine.Metrics) float64 { return float64(m.Running) }),
	gauge("waiting_mutations", "Mutations that wait for room.", func(m engine.Metrics) float64 { return float64(m.Waiting) }),
	gauge("queued_mutations", "Mutations that are accepted and not handed to the store yet.", func(m engine.Metrics) float64 { return float64(m.Queued) }),
	gauge("pending_bytes", "Bytes that are accepted and not durable yet.", func(m engine.Metrics) float64 { return float64(m.PendingBytes) }),

	byKind("function_duration_seconds", "How long one run of a function took.", func(d *prometheus.Desc, f engine.FunctionMetrics, kind string) prometheus.Metric {
		return constHistogram(d, f.Time, kind)
	}),
	byKind("function_failures_total", "Runs of functions that ended with an error.", func(d *prometheus.Desc, f engine.FunctionMetrics, kind string) prometheus.Metric {
		return prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(f.Failed), kind)
	}),
	histogram("trigger_duration_seconds", "How long one trigger took.", func(m engine.Metrics) engine.Histogram { return m.Triggers }),
	histogram("read_set_ranges", "Ranges of keys that a query or a mutation read.", func(m engine.Metrics) engine.Histogram { return m.ReadSet }),

	gauge("running_jobs", "Scheduled functions that run.", func(m engine.Metrics) float64 { return float64(m.Jobs.Running) }),
	counter("jobs_succeeded_total", "Scheduled functions that have succeeded.", func(m engine.Metrics) uint64 { return m.Jobs.Succeeded }),
	counter("jobs_failed_total", "Scheduled functions that have failed for good.", func(m engine.Metrics) uint64 { return m.Jobs.Failed }),
	counter("jobs_retried_total", "Attempts of scheduled actions that failed and are repeated.", func(m engine.Metrics) uint64 { return m.Jobs.Retried }),
	histogram("job_delay_seconds", "How much later than due a scheduled function was begun.", func(m engine.Metrics) engine.Histogram { return m.Jobs.Delay }),

	gauge("watches", "Evaluations that are watched for changes.", func(m engine.Metrics) float64 { return float64(m.Watches) }),
	gauge("transactions", "Queries and mutations that run, each with a snapshot of the store.", func(m engine.Metrics) float64 { return float64(m.Transactions) }),
	gauge("abandoned_functions", "Functions that still run past their time limit.", func(m engine.Metrics) float64 { return float64(m.Abandoned) }),
	gauge("published_timestamp_seconds", "The newest published timestamp, in seconds since 1970.", func(m engine.Metrics) float64 { return float64(m.Published) / 1e9 }),
}
