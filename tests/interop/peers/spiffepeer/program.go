package main

import (
	"context"
	"fmt"
	"maps"
	"sync"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// task is something that goes on until it is stopped.
type task interface {
	// figures tells how it stands once it has counted as much as ordered.
	figures(order) answer
	stop()
}

// program is what orders share: the named tasks and one source for each socket and ID.
type program struct {
	mutex   sync.Mutex
	tasks   map[string]task
	sources map[string]*workloadapi.X509Source
}

func newProgram() *program {
	return &program{tasks: map[string]task{}, sources: map[string]*workloadapi.X509Source{}}
}

// copy is for answers that are kept: each order puts its own id into what it sends.
func (a answer) copy() answer { return maps.Clone(a) }

func (p *program) keep(name string, t task) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.tasks[name] = t
}

func (p *program) named(name string) task {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.tasks[name]
}

func (p *program) figures(_ context.Context, o order) (answer, error) {
	t := p.named(o.Name)
	if t == nil {
		return nil, fmt.Errorf("nothing is named %q", o.Name)
	}
	return t.figures(o).copy(), nil
}

func (p *program) stop(_ context.Context, o order) (answer, error) {
	t := p.named(o.Name)
	if t == nil {
		return nil, fmt.Errorf("nothing is named %q", o.Name)
	}
	t.stop()
	return t.figures(order{}).copy(), nil
}

// source follows the Workload API; the first use waits for the first update.
func (p *program) source(ctx context.Context, o order) (*workloadapi.X509Source, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	key := o.Socket + " " + o.As
	if source := p.sources[key]; source != nil {
		return source, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	source, err := workloadapi.NewX509Source(
		ctx,
		workloadapi.WithClientOptions(workloadapi.WithAddr("unix://"+o.Socket)),
		workloadapi.WithDefaultX509SVIDPicker(func(svids []*x509svid.SVID) *x509svid.SVID {
			for _, svid := range svids {
				if svid.ID.String() == o.As {
					return svid
				}
			}
			return svids[0]
		}),
	)
	if err != nil {
		return nil, err
	}
	p.sources[key] = source
	return source, nil
}
