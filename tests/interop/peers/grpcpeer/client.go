package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// session is what the orders of one client process have opened, by the names they gave.
type session struct {
	lock  sync.Mutex
	conns map[string]*grpc.ClientConn
	calls map[string]*openCall
}

type openCall struct {
	stream grpc.ClientStream
	cancel context.CancelFunc
}

func client([]string) error {
	s := &session{conns: map[string]*grpc.ClientConn{}, calls: map[string]*openCall{}}
	return obey(s.do)
}

func (s *session) do(o order) (answer, error) {
	switch o.Op {
	case "dial":
		return nil, s.dial(o)
	case "close":
		return nil, s.conn(o).Close()
	case "unary":
		return s.unary(o), nil
	case "burst":
		return s.burst(o), nil
	case "churn":
		return s.churn(o)
	case "open":
		return nil, s.open(o)
	case "send":
		return nil, s.call(o).stream.SendMsg(message(o))
	case "half_close":
		return nil, s.call(o).stream.CloseSend()
	case "header":
		md, err := s.call(o).stream.Header()
		return answer{"header": lines(md)}, err
	case "receive":
		return s.receive(o), nil
	case "cancel":
		s.call(o).cancel()
		return nil, nil
	case "flood":
		return flood(o)
	case "probe":
		return probe(o)
	}
	return nil, fmt.Errorf("no operation %q", o.Op)
}

func (s *session) conn(o order) *grpc.ClientConn {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.conns[o.Conn]
}

func (s *session) call(o order) *openCall {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.calls[o.Call]
}

func dialTarget(target string) string {
	if strings.HasPrefix(target, "unix:") {
		return target
	}
	return "passthrough:///" + target
}

func (s *session) dial(o order) error {
	creds, err := transportCredentials(o.TLS)
	if err != nil {
		return err
	}
	options := []grpc.DialOption{grpc.WithTransportCredentials(creds), grpc.WithNoProxy()}
	if o.Limit > 0 {
		options = append(options, grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(o.Limit)))
	}
	if o.Window > 0 {
		// Fixed windows: otherwise the client widens them as it measures the connection.
		options = append(options, grpc.WithInitialWindowSize(o.Window), grpc.WithInitialConnWindowSize(1<<20))
	}
	conn, err := grpc.NewClient(dialTarget(o.Target), options...)
	if err != nil {
		return err
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.conns[o.Conn] = conn
	return nil
}

func path(o order) string {
	if strings.HasPrefix(o.Method, "/") {
		return o.Method
	}
	return "/" + serviceName + "/" + o.Method
}

// message makes a request of the order's steps, lengthened by a pattern of `pad` bytes.
func message(o order) *wrapperspb.BytesValue {
	return wrapperspb.Bytes(append([]byte(o.Steps), pattern(o.Pad)...))
}

func callContext(o order) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	if o.TimeoutMS > 0 {
		ctx, cancel = context.WithTimeout(context.Background(), time.Duration(o.TimeoutMS)*time.Millisecond)
	}
	for key, value := range o.Metadata {
		if strings.HasSuffix(key, "-bin") {
			raw, err := base64.StdEncoding.DecodeString(value)
			if err != nil {
				panic(err) // only the tests write orders
			}
			value = string(raw)
		}
		ctx = metadata.AppendToOutgoingContext(ctx, key, value)
	}
	return ctx, cancel
}

func callOptions(o order) []grpc.CallOption {
	if o.Gzip {
		return []grpc.CallOption{grpc.UseCompressor(gzip.Name)}
	}
	return nil
}

func (s *session) unary(o order) answer {
	ctx, cancel := callContext(o)
	defer cancel()
	var header, trailer metadata.MD
	reply := new(wrapperspb.BytesValue)
	options := append(callOptions(o), grpc.Header(&header), grpc.Trailer(&trailer))
	err := s.conn(o).Invoke(ctx, path(o), message(o), reply, options...)
	result := outcome(err, trailer)
	result["header"] = lines(header)
	if err == nil {
		describe(reply, result)
	}
	return result
}

func describe(reply *wrapperspb.BytesValue, result answer) {
	digest := sha256.Sum256(reply.Value)
	result["text"] = string(reply.Value[:min(len(reply.Value), 1000)])
	result["size"] = len(reply.Value)
	result["sha256"] = hex.EncodeToString(digest[:])
}

func outcome(err error, trailer metadata.MD) answer {
	if err == io.EOF {
		err = nil
	}
	st := status.Convert(err)
	result := answer{"code": int(st.Code()), "message": st.Message(), "trailer": lines(trailer)}
	if len(st.Proto().GetDetails()) > 0 {
		data, err := proto.Marshal(st.Proto())
		if err != nil {
			panic(err)
		}
		result["details"] = base64.StdEncoding.EncodeToString(data)
	}
	return result
}

func (s *session) open(o order) error {
	ctx, cancel := callContext(o)
	stream, err := s.conn(o).NewStream(ctx, streamDescs[o.Method], path(o), callOptions(o)...)
	if err != nil {
		cancel()
		return err
	}
	s.lock.Lock()
	defer s.lock.Unlock()
	s.calls[o.Call] = &openCall{stream, cancel}
	return nil
}

// receive takes up to `count` replies (at least one) and describes the last, or how the call ended.
func (s *session) receive(o order) answer {
	call, result := s.call(o), answer{}
	received := 0
	for received < max(o.Count, 1) {
		reply := new(wrapperspb.BytesValue)
		if err := call.stream.RecvMsg(reply); err != nil {
			for key, value := range outcome(err, call.stream.Trailer()) {
				result[key] = value
			}
			break
		}
		received++
		describe(reply, result)
	}
	result["received"] = received
	return result
}
