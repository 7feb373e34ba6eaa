package main

import (
	"encoding/json"
	"flag"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/keepalive"
)

// countingListener counts what it accepts.
type countingListener struct {
	net.Listener
	board *board
}

func (l countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.board.connections.Add(1)
	}
	return conn, err
}

// split takes "unix:/path" or "host:port" apart into network and address.
func split(target string) (string, string) {
	if path, found := strings.CutPrefix(target, "unix:"); found {
		return "unix", path
	}
	return "tcp", target
}

func dialSocket(target string) (net.Conn, error) {
	network, address := split(target)
	return net.Dial(network, address)
}

func serve(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	listen := flags.String("listen", "127.0.0.1:0", "unix:/path or host:port")
	name := flags.String("name", "grpc-go", "what the step `name` emits")
	limit := flags.Int("max-receive", 4<<20, "longest message accepted")
	window := flags.Int("window", 0, "fixed flow-control windows of this size; 0 lets them grow")
	age := flags.Duration("max-age", 0, "drain each connection when it is so old")
	tlsJSON := flags.String("tls", "", "JSON with cert, key, roots and expect")
	flags.Parse(args)

	var files *tlsFiles
	if *tlsJSON != "" {
		files = &tlsFiles{}
		if err := json.Unmarshal([]byte(*tlsJSON), files); err != nil {
			return err
		}
	}
	creds, err := transportCredentials(files)
	if err != nil {
		return err
	}
	options := []grpc.ServerOption{grpc.Creds(creds), grpc.MaxRecvMsgSize(*limit)}
	if *window > 0 {
		options = append(options,
			grpc.InitialWindowSize(int32(*window)), grpc.InitialConnWindowSize(int32(*window)))
	}
	if *age > 0 {
		options = append(options, grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionAge: *age, MaxConnectionAgeGrace: time.Minute,
		}))
	}
	network, address := split(*listen)
	listener, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	server, state := grpc.NewServer(options...), newBoard(*name)
	server.RegisterService(serviceDesc(), state)
	go server.Serve(countingListener{listener, state})
	print(answer{"address": listener.Addr().String()})
	return obey(func(o order) (answer, error) { return nil, control(server, listener, o) })
}

// control stops the server. `drain` answers once nothing is accepted any more, `stop` once all is over.
func control(server *grpc.Server, listener net.Listener, o order) error {
	switch o.Op {
	case "drain":
		if err := listener.Close(); err != nil {
			return err
		}
		go server.GracefulStop()
	case "drained":
		server.GracefulStop()
	case "stop":
		server.Stop()
	}
	return nil
}
