package main

import "sync"

// tally counts connections and remembers which certificates were seen on them.
type tally struct {
	mutex  sync.Mutex
	grown  *sync.Cond
	ok     int
	failed int
	errors map[string]int
	own    map[string]bool // serial numbers
	peer   map[string]bool
	signer map[string]bool // key ids of the authorities that signed either
	ended  bool
}

func newTally() *tally {
	t := &tally{
		errors: map[string]int{}, own: map[string]bool{}, peer: map[string]bool{}, signer: map[string]bool{},
	}
	t.grown = sync.NewCond(&t.mutex)
	return t
}

func (t *tally) add(seen *handshake, err error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	defer t.grown.Broadcast()
	if err != nil {
		t.failed++
		t.errors[err.Error()]++
		return
	}
	t.ok++
	for _, leaf := range []struct {
		of     answer
		serial map[string]bool
	}{{seen.own, t.own}, {seen.peer, t.peer}} {
		if leaf.of != nil {
			leaf.serial[leaf.of["serial"].(string)] = true
			t.signer[leaf.of["authority"].(string)] = true
		}
	}
}

// figures waits until there were as many connections and certificates as ordered, or there will be no more.
func (t *tally) figures(o order) answer {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for !t.ended && (t.ok+t.failed < o.Count || len(t.own) < o.Own || len(t.peer) < o.Peer) {
		t.grown.Wait()
	}
	errors := map[string]int{}
	for text, number := range t.errors {
		errors[text] = number
	}
	return answer{
		"ok": t.ok, "failed": t.failed, "errors": errors,
		"own": len(t.own), "peer": len(t.peer), "authorities": len(t.signer),
	}
}

func (t *tally) end() {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.ended = true
	t.grown.Broadcast()
}
