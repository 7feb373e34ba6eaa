package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/status"
)

// watching keeps every update and every failure of one stream, each kind in the order in which it came.
type watching struct {
	mutex    sync.Mutex
	grown    *sync.Cond
	updates  []answer
	failures []answer
	cancel   context.CancelFunc
}

func (w *watching) add(list *[]answer, news answer) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	*list = append(*list, news)
	w.grown.Broadcast()
}

func (w *watching) OnX509ContextUpdate(got *workloadapi.X509Context) {
	w.add(&w.updates, describe(got))
}

func (w *watching) OnX509ContextWatchError(err error) {
	w.add(&w.failures, answer{"failure": err.Error(), "code": int(status.Code(err))})
}

// nth waits for as long as it takes: the test has the deadline.
func (w *watching) nth(list *[]answer, number int) answer {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for len(*list) < number {
		w.grown.Wait()
	}
	return (*list)[number-1].copy()
}

// figures tells how many there were of each kind.
func (w *watching) figures(order) answer {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return answer{"updates": len(w.updates), "failures": len(w.failures)}
}

func (w *watching) stop() { w.cancel() }

func (p *program) watch(ctx context.Context, o order) (answer, error) {
	client, err := workloadapi.New(ctx, workloadapi.WithAddr("unix://"+o.Socket))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w := &watching{cancel: cancel}
	w.grown = sync.NewCond(&w.mutex)
	p.keep(o.Name, w)
	go func() {
		defer client.Close()
		_ = client.WatchX509Context(ctx, w) // each error has been added already
	}()
	return nil, nil
}

func (p *program) news(_ context.Context, o order) (answer, error) {
	w, found := p.named(o.Name).(*watching)
	if !found {
		return nil, fmt.Errorf("nothing is watched as %q", o.Name)
	}
	if o.Op == "failure" {
		return w.nth(&w.failures, o.Number), nil
	}
	return w.nth(&w.updates, o.Number), nil
}
