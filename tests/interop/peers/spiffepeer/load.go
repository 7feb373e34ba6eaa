package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// load calls the Workload API at `socket` from `count` connections at once for `every_ms` in all, and tells how
// many calls were answered. Text says what is asked for: `cached` the same audience each time, `new` another one,
// `validate` a judgement on `token`.
func load(_ context.Context, o order) (answer, error) {
	var calls atomic.Int64
	var failed error
	var once sync.Once
	var running sync.WaitGroup
	begin := time.Now()
	end := begin.Add(time.Duration(o.EveryMS) * time.Millisecond)
	for client := 0; client < o.Count; client++ {
		running.Add(1)
		go func(client int) {
			defer running.Done()
			if err := callUntil(o, client, end, &calls); err != nil {
				once.Do(func() { failed = err })
			}
		}(client)
	}
	running.Wait()
	if failed != nil {
		return nil, failed
	}
	return answer{"calls": calls.Load(), "seconds": time.Since(begin).Seconds()}, nil
}

func callUntil(o order, client int, end time.Time, calls *atomic.Int64) error {
	conn, err := grpc.NewClient("unix:"+o.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	api := workload.NewSpiffeWorkloadAPIClient(conn)
	ctx := metadata.AppendToOutgoingContext(context.Background(), "workload.spiffe.io", "true")
	for number := 0; time.Now().Before(end); number++ {
		switch o.Text {
		case "validate":
			_, err = api.ValidateJWTSVID(ctx, &workload.ValidateJWTSVIDRequest{Audience: o.Audience[0], Svid: o.Token})
		case "new":
			audience := fmt.Sprintf("%s-%d-%d-%d", o.Audience[0], o.Number, client, number)
			_, err = api.FetchJWTSVID(ctx, &workload.JWTSVIDRequest{Audience: []string{audience}})
		default:
			_, err = api.FetchJWTSVID(ctx, &workload.JWTSVIDRequest{Audience: o.Audience})
		}
		if err != nil {
			return err
		}
		calls.Add(1)
	}
	return nil
}
