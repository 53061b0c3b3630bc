//go:build linux

package examples_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// internet stands in for the services' own addresses, on this machine: a proxy that the programs use since their environment
// says so, as in companies that have one, and that answers for https://github.com and the like itself. So the programs are
// run as they are, with the addresses of the real services in them.
type internet struct {
	proxy, roots string // an address, a file of certificates
	hosts        map[string]http.Handler
}

// newInternet serves these hosts, and none else, until the test ends.
func newInternet(t *testing.T, hosts map[string]http.Handler) *internet {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a root for one test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	for host := range hosts {
		certificate.DNSNames = append(certificate.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	in := &internet{proxy: "http://" + listener.Addr().String(), roots: roots, hosts: hosts}
	tunnels := &tunnels{made: make(chan net.Conn), closed: make(chan struct{}), addr: listener.Addr()}
	inner := &http.Server{Handler: http.HandlerFunc(in.serve)}
	outer := &http.Server{Handler: http.HandlerFunc(tunnels.connect)}
	secured := tls.NewListener(tunnels, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	ended := make(chan error, 2)
	go func() { ended <- inner.Serve(secured) }()
	go func() { ended <- outer.Serve(listener) }()
	t.Cleanup(func() {
		_, _ = outer.Close(), inner.Close()
		for range 2 {
			if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		}
	})
	return in
}

// env is what makes a program use it.
func (in *internet) env() []string {
	return []string{"HTTPS_PROXY=" + in.proxy, "SSL_CERT_FILE=" + in.roots, "SSL_CERT_DIR=/nonexistent", "NO_PROXY="}
}

func (in *internet) serve(w http.ResponseWriter, r *http.Request) {
	if h := in.hosts[r.Host]; h != nil {
		h.ServeHTTP(w, r)
		return
	}
	http.Error(w, "no such host", http.StatusBadGateway)
}

// tunnels are the connections that clients have made through the proxy, as a listener gives them.
type tunnels struct {
	made   chan net.Conn
	closed chan struct{}
	addr   net.Addr
}

func (t *tunnels) connect(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "only tunnels", http.StatusMethodNotAllowed)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if _, err := conn.Write([]byte("HTTP/1.1 200 OK\r\n\r\n")); err != nil {
		_ = conn.Close()
		return
	}
	select {
	case t.made <- &tunnel{conn, buffered.Reader}:
	case <-t.closed:
		_ = conn.Close()
	}
}

func (t *tunnels) Accept() (net.Conn, error) {
	select {
	case c := <-t.made:
		return c, nil
	case <-t.closed:
		return nil, net.ErrClosed
	}
}

func (t *tunnels) Close() error   { close(t.closed); return nil }
func (t *tunnels) Addr() net.Addr { return t.addr }

// tunnel is a connection of which some bytes may have been read already.
type tunnel struct {
	net.Conn
	buffered *bufio.Reader
}

func (t *tunnel) Read(p []byte) (int, error) { return t.buffered.Read(p) }
