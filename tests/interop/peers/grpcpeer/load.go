package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// load obeys three orders, each of which answers once its load has been put on the server:
//
//	calls        `count` unary echoes on one connection, `workers` at a time
//	connections  `count` connections, one unary echo each, `workers` at a time
//	idle         `count` connections with one open stream each, held until the process ends
func load(args []string) error {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	target := flags.String("target", "", "unix:/path or host:port")
	method := flags.String("method", "Unary", "unary method to call")
	tlsJSON := flags.String("tls", "", "JSON with cert, key, roots and expect")
	flags.Parse(args)
	l := &loader{method: "/" + serviceName + "/" + *method, target: *target}
	if *tlsJSON != "" {
		l.tls = &tlsFiles{}
		if err := json.Unmarshal([]byte(*tlsJSON), l.tls); err != nil {
			return err
		}
	}
	if err := l.dial(&l.conn); err != nil {
		return err
	}
	print(answer{"ready": true})
	return obey(l.do)
}

type loader struct {
	target, method string
	tls            *tlsFiles
	conn           *grpc.ClientConn
	held           []*grpc.ClientConn
}

func (l *loader) dial(conn **grpc.ClientConn) error {
	creds, err := transportCredentials(l.tls)
	if err != nil {
		return err
	}
	*conn, err = grpc.NewClient(
		dialTarget(l.target), grpc.WithTransportCredentials(creds), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
	)
	return err
}

func (l *loader) do(o order) (answer, error) {
	begun := time.Now()
	failures := make(chan error, o.Count)
	work := map[string]func() error{
		"calls":       func() error { return l.echo(l.conn) },
		"connections": l.connect,
	}[o.Op]
	switch {
	case o.Op == "idle":
		for range o.Count {
			if err := l.hold(); err != nil {
				return nil, err
			}
		}
	case work != nil:
		spread(o.Count, o.Workers, func(int) {
			if err := work(); err != nil {
				failures <- err
			}
		})
	default:
		return nil, fmt.Errorf("no load %q", o.Op)
	}
	if len(failures) > 0 {
		return nil, fmt.Errorf("%d failures, first: %w", len(failures), <-failures)
	}
	return answer{"seconds": time.Since(begun).Seconds()}, nil
}

func (l *loader) echo(conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return conn.Invoke(ctx, l.method, wrapperspb.Bytes([]byte("echo:0123456789abcdef")), new(wrapperspb.BytesValue))
}

func (l *loader) connect() error {
	var conn *grpc.ClientConn
	if err := l.dial(&conn); err != nil {
		return err
	}
	defer conn.Close()
	return l.echo(conn)
}

func (l *loader) hold() error {
	var conn *grpc.ClientConn
	if err := l.dial(&conn); err != nil {
		return err
	}
	l.held = append(l.held, conn)
	stream, err := conn.NewStream(context.Background(), streamDescs["ServerStream"], "/"+serviceName+"/ServerStream")
	if err != nil {
		return err
	}
	if err := stream.SendMsg(wrapperspb.Bytes([]byte("count:1;idle"))); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	return stream.RecvMsg(new(wrapperspb.BytesValue))
}
