package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// handshake is what both sides showed on one connection; own is nil at the server.
type handshake struct {
	id        string
	own, peer answer
	text      string
}

// server answers each line with the caller's ID and the line.
type server struct {
	*tally
	listener net.Listener
}

func (p *program) serve(ctx context.Context, o order) (answer, error) {
	source, err := p.source(ctx, o)
	if err != nil {
		return nil, err
	}
	expect, err := spiffeid.FromString(o.Expect)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", o.Target)
	if err != nil {
		return nil, err
	}
	s := &server{newTally(), listener}
	p.keep(o.Name, s)
	go s.accept(tlsconfig.MTLSServerConfig(source, source, tlsconfig.AuthorizeID(expect)))
	return answer{"address": listener.Addr().String()}, nil
}

func (s *server) stop() {
	s.listener.Close()
	s.end()
}

func (s *server) accept(config *tls.Config) {
	for {
		raw, err := s.listener.Accept()
		if err != nil {
			return // stopped
		}
		go s.echo(tls.Server(raw, config))
	}
}

func (s *server) echo(conn *tls.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if err := conn.Handshake(); err != nil {
		s.add(nil, fmt.Errorf("handshake: %w", err))
		return
	}
	leaf := conn.ConnectionState().PeerCertificates[0]
	s.add(&handshake{peer: certificate(leaf)}, nil)
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return // a caller that does not accept us
	}
	fmt.Fprintf(conn, "%s %s", leaf.URIs[0], line)
}

// connect makes one connection and sees one line come back: only then has the server accepted us too.
func (p *program) connect(ctx context.Context, o order) (*handshake, error) {
	source, err := p.source(ctx, o)
	if err != nil {
		return nil, err
	}
	expect, err := spiffeid.FromString(o.Expect)
	if err != nil {
		return nil, err
	}
	own, err := source.GetX509SVID()
	if err != nil {
		return nil, err
	}
	shown := tlsconfig.MTLSClientConfig(fixed{own}, source, tlsconfig.AuthorizeID(expect))
	raw, err := net.DialTimeout("tcp", o.Target, patience)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, shown)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if err := conn.Handshake(); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	text := o.Text + "\n"
	if _, err := conn.Write([]byte(text)); err != nil {
		return nil, fmt.Errorf("write: %w", err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	leaf := conn.ConnectionState().PeerCertificates[0]
	return &handshake{leaf.URIs[0].String(), certificate(own.Certificates[0]), certificate(leaf), line[:len(line)-1]}, nil
}

// fixed is an SVID that stays what it is, so that the one that is reported is the one that was shown.
type fixed struct{ svid *x509svid.SVID }

func (f fixed) GetX509SVID() (*x509svid.SVID, error) { return f.svid, nil }

func (p *program) call(ctx context.Context, o order) (answer, error) {
	seen, err := p.connect(ctx, o)
	if err != nil {
		return nil, err
	}
	return answer{"peer_id": seen.id, "peer": seen.peer, "own": seen.own, "text": seen.text}, nil
}

// dialler makes connections at a fixed pace.
type dialler struct {
	*tally
	cancel context.CancelFunc
	done   chan struct{}
}

func (d *dialler) stop() {
	d.cancel()
	<-d.done
}

func (p *program) dial(ctx context.Context, o order) (answer, error) {
	if _, err := p.source(ctx, o); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	d := &dialler{newTally(), cancel, make(chan struct{})}
	p.keep(o.Name, d)
	go func() {
		defer close(d.done)
		defer d.end()
		ticks := time.NewTicker(time.Duration(o.EveryMS) * time.Millisecond)
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
				d.add(p.connect(ctx, o))
			}
		}
	}()
	return nil, nil
}
