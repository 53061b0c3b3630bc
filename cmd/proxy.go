package cmd

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/mimosadb/mimosa/subscriptions"
)

// networks are the names that --trust-proxy knows.
var networks = map[string][]netip.Prefix{
	"loopback": {netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
	"private": {
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("fc00::/7"),
	},
}

// checkProxies reads --trust-proxy.
func (p *program) checkProxies() error {
	p.trusted = nil
	for _, value := range p.proxies {
		prefixes, err := parseProxy(value)
		if err != nil {
			return misuse(fmt.Sprintf("--trust-proxy %q %v", value, err))
		}
		if err := (subscriptions.Options{TrustedProxies: prefixes}).Validate(); err != nil {
			return misuse("--trust-proxy: " + strings.TrimPrefix(oneLine(err), "subscriptions: "))
		}
		p.trusted = append(p.trusted, prefixes...)
	}
	return nil
}

func parseProxy(value string) ([]netip.Prefix, error) {
	if known := networks[value]; known != nil {
		return known, nil
	}
	if addr, err := netip.ParseAddr(value); err == nil {
		addr = addr.Unmap().WithZone("")
		return []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())}, nil
	}
	prefix, err := netip.ParsePrefix(value)
	if err != nil {
		return nil, errors.New("is not a proxy's address; it takes an IP address, a network such as 10.0.0.0/8, loopback or private")
	}
	if network := prefix.Masked(); network != prefix {
		return nil, fmt.Errorf("is not a network; %s is, and so is the address %s by itself", network, prefix.Addr())
	}
	return []netip.Prefix{prefix}, nil
}

// trustedProxies are those of App and of the flag.
func (p *program) trustedProxies() []netip.Prefix {
	return slices.Concat(p.Server.TrustedProxies, p.trusted)
}

// fromClients has handlers see the client's address as that of the request, where it came through a trusted proxy: the program's
// own as well. To look again, as the handler of calls does, changes nothing.
func fromClients(next http.Handler, trusted []netip.Prefix) http.Handler {
	if len(trusted) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if addr := subscriptions.RemoteAddr(r, trusted); addr.IsValid() {
			if peer, err := netip.ParseAddrPort(r.RemoteAddr); err != nil || peer.Addr().Unmap().WithZone("") != addr {
				r = r.WithContext(r.Context()) // a copy: the server keeps its own
				r.RemoteAddr = netip.AddrPortFrom(addr, 0).String()
			}
		}
		next.ServeHTTP(w, r)
	})
}
