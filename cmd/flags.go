package cmd

import (
	"fmt"
	"net"
	"strings"

	"github.com/mimosadb/mimosa/subscriptions"
)

// checkAddr refuses what is no address at all. Whether it can be listened on is seen when it is tried.
func (p *program) checkAddr() error {
	if _, port, err := net.SplitHostPort(p.addr); err != nil || port == "" {
		return misuse(fmt.Sprintf("--addr %q is not an address; it takes host:port, such as %s", p.addr, defaultAddr))
	}
	return nil
}

// checkMetrics is checkAddr for the address of the metrics.
func (p *program) checkMetrics() error {
	if p.metrics == "" {
		return nil
	}
	if _, port, err := net.SplitHostPort(p.metrics); err != nil || port == "" {
		return misuse(fmt.Sprintf("--metrics %q is not an address; it takes host:port, such as localhost:9090", p.metrics))
	}
	return nil
}

// checkData refuses an empty name, which a shell makes of a variable that is not set.
func (p *program) checkData() error {
	if p.data == "" && p.Database.Store == nil {
		return misuse(fmt.Sprintf("--data is empty; it takes the name of a folder, such as %s", defaultData))
	}
	return nil
}

// checkOrigins refuses what no browser sends as the origin of a page. It would match nothing, in silence.
func (p *program) checkOrigins() error {
	for _, origin := range p.origins {
		if err := (subscriptions.Options{AllowedOrigins: []string{origin}}).Validate(); err != nil {
			return misuse("--allow-origin: " + strings.TrimPrefix(oneLine(err), "subscriptions: "))
		}
	}
	return nil
}
