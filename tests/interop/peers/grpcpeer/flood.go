package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// patience bounds every wait of a raw connection; a server that leaves us waiting longer has stopped reading.
const patience = 10 * time.Second

// rawConn is an HTTP/2 connection without a client's good manners.
type rawConn struct {
	net.Conn
	*http2.Framer
	encoder *hpack.Encoder
	block   bytes.Buffer
	stream  uint32

	over   chan struct{} // closed once the server has closed
	lock   sync.Mutex
	goaway int // error code of the last GOAWAY, or -1
	debug  string
}

// dialRaw says hello and, if `read` is set, goes on reading what the server sends.
func dialRaw(o order) (*rawConn, error) {
	conn, err := dialSocket(o.Target)
	if err != nil {
		return nil, err
	}
	c := &rawConn{
		Conn: conn, Framer: http2.NewFramer(conn, conn), over: make(chan struct{}), goaway: -1,
	}
	c.AllowIllegalWrites = true
	c.encoder = hpack.NewEncoder(&c.block)
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		return nil, err
	}
	if err := c.WriteSettings(); err != nil {
		return nil, err
	}
	if o.Read {
		go c.listen()
	}
	return c, nil
}

func (c *rawConn) listen() {
	defer close(c.over)
	for {
		frame, err := c.ReadFrame()
		var streamError http2.StreamError
		if errors.As(err, &streamError) {
			continue
		}
		if err != nil {
			return
		}
		if away, is := frame.(*http2.GoAwayFrame); is {
			c.lock.Lock()
			c.goaway, c.debug = int(away.ErrCode), string(away.DebugData())
			c.lock.Unlock()
		}
	}
}

// request encodes the headers of a call.
func (c *rawConn) request(method string, more ...hpack.HeaderField) []byte {
	c.block.Reset()
	fields := []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: "/" + serviceName + "/" + method},
		{Name: ":authority", Value: "localhost"},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"},
	}
	for _, field := range append(fields, more...) {
		c.encoder.WriteField(field)
	}
	return c.block.Bytes()
}

func (c *rawConn) open(method string, more ...hpack.HeaderField) error {
	if c.stream == 0 {
		c.stream = 1
	} else {
		c.stream += 2
	}
	return c.WriteHeaders(http2.HeadersFrameParam{
		StreamID: c.stream, BlockFragment: c.request(method, more...), EndHeaders: true,
	})
}

// floods are what one connection sends, again and again; `begin` is sent once.
var floods = map[string]struct{ begin, again func(*rawConn) error }{
	"rapid-reset": {nil, func(c *rawConn) error {
		if err := c.open("Bidi"); err != nil {
			return err
		}
		return c.WriteRSTStream(c.stream, http2.ErrCodeCancel)
	}},
	"continuation": {func(c *rawConn) error {
		c.stream = 1
		return c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.request("Bidi")})
	}, func(c *rawConn) error {
		c.block.Reset()
		// Never indexed, so that each frame adds to the header list and none to the table.
		c.encoder.WriteField(hpack.HeaderField{Name: "x-flood", Value: strings.Repeat("v", 1000), Sensitive: true})
		return c.WriteContinuation(1, false, c.block.Bytes())
	}},
	"settings": {nil, func(c *rawConn) error {
		return c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65_535})
	}},
	"ping": {nil, func(c *rawConn) error { return c.WritePing(false, [8]byte{1, 2, 3}) }},
	"empty-data": {func(c *rawConn) error { return c.open("Bidi") }, func(c *rawConn) error {
		return c.WriteData(1, false, nil)
	}},
	"window-update": {nil, func(c *rawConn) error { return c.WriteWindowUpdate(0, 1) }},
	"header-bomb": {nil, func(c *rawConn) error {
		// One entry of the table, referred to by a byte each time: small on the wire, 4 MB once expanded.
		bomb := make([]hpack.HeaderField, 1000)
		for i := range bomb {
			bomb[i] = hpack.HeaderField{Name: "x-bomb", Value: strings.Repeat("b", 4000)}
		}
		return c.open("Bidi", bomb...)
	}},
	"priority": {nil, func(c *rawConn) error {
		return c.WritePriority(1, http2.PriorityParam{StreamDep: 3, Weight: 7})
	}},
}

// flood sends `count` times what its kind says and tells how the server took it.
func flood(o order) (answer, error) {
	if o.Kind == "half-open" {
		return halfOpen(o)
	}
	kind, known := floods[o.Kind]
	if !known {
		return nil, fmt.Errorf("no flood %q", o.Kind)
	}
	c, err := dialRaw(o)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if kind.begin != nil {
		if err := kind.begin(c); err != nil {
			return nil, err
		}
	}
	sent := 0
	for ; sent < o.Count && err == nil; sent++ {
		c.SetWriteDeadline(time.Now().Add(patience))
		err = kind.again(c)
	}
	result := answer{"sent": sent, "blocked": errors.Is(err, os.ErrDeadlineExceeded)}
	if o.Read {
		result["closed"] = c.settle()
		c.lock.Lock()
		defer c.lock.Unlock()
		result["goaway"], result["debug"] = c.goaway, c.debug
	}
	return result, nil
}

// settle pings, and tells whether the server has closed rather than answered.
func (c *rawConn) settle() bool {
	c.SetWriteDeadline(time.Now().Add(patience))
	if c.WritePing(false, [8]byte{9}) != nil {
		<-c.over
		return true
	}
	select {
	case <-c.over:
		return true
	case <-time.After(time.Second):
		return false
	}
}

// halfOpen opens connections that say nothing at all, or only half of a TLS greeting, and tells how many the
// server closes within `timeout_ms`.
func halfOpen(o order) (answer, error) {
	conns, closed := []net.Conn{}, 0
	for range o.Count {
		conn, err := dialSocket(o.Target)
		if err != nil {
			closed++
			continue
		}
		defer conn.Close()
		conns = append(conns, conn)
		if o.TLS != nil {
			conn.Write([]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01})
		}
	}
	deadline := time.Now().Add(time.Duration(o.TimeoutMS) * time.Millisecond)
	for _, conn := range conns {
		conn.SetReadDeadline(deadline)
		for {
			_, err := conn.Read(make([]byte, 4096))
			if err == nil {
				continue // the server's SETTINGS
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				closed++
			}
			break
		}
	}
	return answer{"sent": o.Count, "closed": closed}, nil
}

// probe makes one TLS connection, offering the protocol of its kind, and tells whether it is served.
func probe(o order) (answer, error) {
	config, err := o.TLS.config()
	if err != nil {
		return nil, err
	}
	if o.Kind != "" {
		config.NextProtos = []string{o.Kind}
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", o.Target, config)
	if err != nil {
		return answer{"served": false, "why": err.Error()}, nil
	}
	defer conn.Close()
	result := answer{"version": conn.ConnectionState().Version, "alpn": conn.ConnectionState().NegotiatedProtocol}
	conn.SetDeadline(time.Now().Add(patience))
	framer := http2.NewFramer(conn, conn)
	conn.Write([]byte(http2.ClientPreface))
	framer.WriteSettings()
	framer.WritePing(false, [8]byte{7})
	// Over TLS 1.3 a refused certificate shows at the first read, not in the handshake; and a server may say
	// why it refuses before it closes. Only one that serves us answers the PING.
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			result["served"], result["why"] = false, err.Error()
			break
		}
		if _, answered := frame.(*http2.PingFrame); answered {
			result["served"] = true
			break
		}
	}
	return result, nil
}
