package main

import (
	"context"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const serviceName = "finial.test.Peer"

// streamDescs is read by the server and, for its flags, by the client.
var streamDescs = map[string]*grpc.StreamDesc{
	"ServerStream": {StreamName: "ServerStream", Handler: serveServerStream, ServerStreams: true},
	"ClientStream": {StreamName: "ClientStream", Handler: serveClientStream, ClientStreams: true},
	"Bidi":         {StreamName: "Bidi", Handler: serveBidi, ServerStreams: true, ClientStreams: true},
}

func serviceDesc() *grpc.ServiceDesc {
	desc := &grpc.ServiceDesc{
		ServiceName: serviceName,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			{MethodName: "Unary", Handler: serveUnary},
			{MethodName: "Plain", Handler: serveUnary}, // told apart only by the Python server
		},
	}
	for _, stream := range streamDescs {
		desc.Streams = append(desc.Streams, *stream)
	}
	return desc
}

func serveUnary(
	srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor,
) (any, error) {
	request := new(wrapperspb.BytesValue)
	if err := decode(request); err != nil {
		return nil, err
	}
	if err := prepare(ctx); err != nil {
		return nil, err
	}
	reply := &wrapperspb.BytesValue{}
	_, err := srv.(*board).run(ctx, request.Value, func(data []byte) error {
		reply.Value = data
		return nil
	})
	return reply, err
}

func serveServerStream(srv any, stream grpc.ServerStream) error {
	request := new(wrapperspb.BytesValue)
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	if err := prepare(stream.Context()); err != nil {
		return err
	}
	_, err := srv.(*board).run(stream.Context(), request.Value, emitTo(stream))
	return err
}

// serveClientStream answers with "MESSAGES,BYTES" of what the steps emitted.
func serveClientStream(srv any, stream grpc.ServerStream) error {
	messages, bytes := 0, 0
	for {
		request := new(wrapperspb.BytesValue)
		err := stream.RecvMsg(request)
		returned := err == io.EOF
		if err == nil {
			returned, err = srv.(*board).run(stream.Context(), request.Value, func(data []byte) error {
				messages++
				bytes += len(data)
				return nil
			})
		}
		if err != nil && err != io.EOF {
			return err
		}
		if returned {
			return stream.SendMsg(wrapperspb.Bytes(fmt.Appendf(nil, "%d,%d", messages, bytes)))
		}
	}
}

func serveBidi(srv any, stream grpc.ServerStream) error {
	if err := prepare(stream.Context()); err != nil {
		return err
	}
	for {
		request := new(wrapperspb.BytesValue)
		if err := stream.RecvMsg(request); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		returned, err := srv.(*board).run(stream.Context(), request.Value, emitTo(stream))
		if returned || err != nil {
			return err
		}
	}
}

func emitTo(stream grpc.ServerStream) emitter {
	return func(data []byte) error { return stream.SendMsg(wrapperspb.Bytes(data)) }
}

// prepare does what the request's metadata asks of the reply: its encoding, and metadata of its own.
func prepare(ctx context.Context) error {
	asked, _ := metadata.FromIncomingContext(ctx)
	for _, encoding := range asked.Get("x-reply-encoding") {
		if err := grpc.SetSendCompressor(ctx, encoding); err != nil {
			return status.Error(codes.Internal, err.Error())
		}
	}
	if len(asked.Get("x-reply-metadata")) == 0 {
		return nil
	}
	if err := grpc.SetHeader(ctx, metadata.Pairs("x-initial", "first", "x-initial-bin", "\x00\xff")); err != nil {
		return err
	}
	return grpc.SetTrailer(ctx, metadata.Pairs("x-trailing", "last", "x-trailing-bin", "\x01\xfe"))
}
