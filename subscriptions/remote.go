package subscriptions

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// RemoteAddr returns the address of the client that a request comes from: that of the connection, or, where the connection is
// that of a trusted proxy, what the proxy says in X-Forwarded-For. trusted are the networks of the proxies that stand between
// the clients and this program; nil trusts nobody.
//
// Each proxy appends the address that it was called from, so the header is read from its end. Everything up to the first address
// that is not a trusted proxy's was written by trusted proxies, and that address is the client. What stands before it is the
// client's own invention and is not looked at. Where the header ends, or an entry is not an address, the client is the last
// trusted proxy that is known. A header from anybody else has no effect.
//
// Entries may have ports and brackets. IPv4 addresses that are mapped into IPv6 are returned, and compared, as IPv4 addresses,
// and zones are dropped. The zero Addr is returned for a connection without an address, such as one over a Unix socket. Other
// headers that say the like (Forwarded, X-Real-IP, those of single providers) are never read: a proxy that does not write
// them lets through what clients put there.
func RemoteAddr(r *http.Request, trusted []netip.Prefix) netip.Addr {
	addr, ok := parseAddr(r.RemoteAddr)
	if !ok {
		return netip.Addr{}
	}
	if !trusts(trusted, addr) {
		return addr
	}
	// Several lines are one list, in their order.
	lines := r.Header.Values("X-Forwarded-For")
	for _, line := range slices.Backward(lines) {
		for more := true; more; {
			var entry string
			if i := strings.LastIndexByte(line, ','); i >= 0 {
				line, entry = line[:i], line[i+1:]
			} else {
				entry, more = line, false
			}
			next, ok := parseAddr(strings.Trim(entry, " \t"))
			if !ok {
				return addr
			}
			if addr = next; !trusts(trusted, addr) {
				return addr
			}
		}
	}
	return addr
}

func trusts(trusted []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return folded(p).Contains(addr) })
}

// folded is a prefix of IPv4 addresses that are mapped into IPv6, as one of IPv4 addresses; others are returned as they are.
func folded(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// parseAddr reads an address with or without a port.
func parseAddr(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		var ap netip.AddrPort
		if ap, err = netip.ParseAddrPort(s); err == nil {
			addr = ap.Addr()
		}
	}
	if err != nil {
		if inner, ok := strings.CutPrefix(s, "["); ok {
			if inner, ok = strings.CutSuffix(inner, "]"); ok {
				addr, err = netip.ParseAddr(inner)
			}
		}
	}
	return addr.Unmap().WithZone(""), err == nil
}

// checkProxies says what is wrong with TrustedProxies.
func (o Options) checkProxies() error {
	var errs []error
	for _, p := range o.TrustedProxies {
		switch {
		case !p.IsValid():
			errs = append(errs, errors.New("subscriptions: a trusted proxy is the zero Prefix"))
		case folded(p).Bits() == 0:
			errs = append(errs, fmt.Errorf("subscriptions: to trust %s is to believe every client whatever it says of its address", p))
		}
	}
	return errors.Join(errs...)
}

// usableProxies are the TrustedProxies that checkProxies has nothing against.
func (o Options) usableProxies() []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(o.TrustedProxies), func(p netip.Prefix) bool {
		return Options{TrustedProxies: []netip.Prefix{p}}.checkProxies() != nil
	})
}

// remote is the address of the client that a request comes from.
func (s *Server) remote(r *http.Request) netip.Addr { return RemoteAddr(r, s.o.TrustedProxies) }
