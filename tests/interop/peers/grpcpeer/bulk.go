package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// spread runs `do` so many times on so many goroutines.
func spread(times, workers int, do func(i int)) {
	turns := make(chan int)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for i := range turns {
				do(i)
			}
		})
	}
	for i := range times {
		turns <- i
	}
	close(turns)
	running.Wait()
}

// burst makes `count` unary calls, `workers` at a time, and tells how often each status came.
func (s *session) burst(o order) answer {
	var lock sync.Mutex
	codes, last := map[string]int{}, ""
	spread(o.Count, o.Workers, func(i int) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		reply, text := new(wrapperspb.BytesValue), fmt.Sprintf("call %d", i)
		err := s.conn(o).Invoke(ctx, path(o), wrapperspb.Bytes([]byte("echo:"+text)), reply)
		lock.Lock()
		defer lock.Unlock()
		if err == nil && string(reply.Value) != text {
			codes["mixed up"]++
			return
		}
		codes[status.Code(err).String()]++
		if err != nil {
			last = err.Error()
		}
	})
	return answer{"codes": codes, "last": last}
}

// churn opens a stream, waits for its first reply and cancels it, `count` times.
func (s *session) churn(o order) (answer, error) {
	var lock sync.Mutex
	var failure error
	spread(o.Count, max(o.Workers, 1), func(int) {
		if err := openAndCancel(s.conn(o), o); err != nil {
			lock.Lock()
			defer lock.Unlock()
			failure = err
		}
	})
	return nil, failure
}

func openAndCancel(conn *grpc.ClientConn, o order) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	stream, err := conn.NewStream(ctx, streamDescs["Bidi"], "/"+serviceName+"/Bidi")
	if err != nil || o.Kind == "unheard" {
		return err
	}
	if err := stream.SendMsg(wrapperspb.Bytes([]byte("count:1"))); err != nil {
		return err
	}
	return stream.RecvMsg(new(wrapperspb.BytesValue))
}
