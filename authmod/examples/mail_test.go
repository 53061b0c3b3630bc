//go:build linux

package examples_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/mail"
	"net/textproto"
	"regexp"
	"strings"
	"testing"
	"time"
)

// post takes mails in, by SMTP, as a server of the program's own organization would.
type post struct {
	t     *testing.T
	addr  string
	mails chan *letter
}

type letter struct{ to, subject, text string }

func newPost(t *testing.T) *post {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &post{t: t, addr: l.Addr().String(), mails: make(chan *letter, 10)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if err := p.converse(conn); err != nil {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
	})
	return p
}

// converse is one connection of RFC 5321: greeting, one mail, farewell.
func (p *post) converse(conn net.Conn) (err error) {
	defer func() { err = errors.Join(err, conn.Close()) }()
	c := textproto.NewReader(bufio.NewReader(conn))
	say := func(line string) {
		if err == nil {
			_, err = fmt.Fprintf(conn, "%s\r\n", line)
		}
	}
	say("220 post.school.example")
	for err == nil {
		var line string
		if line, err = c.ReadLine(); err != nil {
			return err
		}
		verb, _, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "DATA":
			say("354 go on")
			var m *mail.Message
			if m, err = mail.ReadMessage(c.DotReader()); err == nil {
				var text []byte
				text, err = io.ReadAll(m.Body)
				p.mails <- &letter{m.Header.Get("To"), m.Header.Get("Subject"), string(text)}
			}
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return err
		default:
			say("250 fine")
		}
	}
	return err
}

var eightDigits = regexp.MustCompile(`\b\d{8}\b`)

// code is that of the next mail, which is to go to this address and has to be of this purpose.
func (p *post) code(to, purpose string) string {
	p.t.Helper()
	var m *letter
	select {
	case m = <-p.mails:
	case <-time.After(time.Minute): // so that the test says what is missing
		p.t.Fatalf("no mail to %s to %s", to, purpose)
	}
	code := eightDigits.FindString(m.text)
	if m.to != to || m.subject != "School: "+purpose || (code == "") != (purpose == "exists") {
		p.t.Fatalf("%+v", m)
	}
	return code
}
