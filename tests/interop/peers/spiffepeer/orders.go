package main

import (
	"bufio"
	"encoding/json"
	"os"
	"sync"

	"google.golang.org/grpc/status"
)

// order is one line of standard input. Which fields matter depends on the operation.
type order struct {
	ID      int    `json:"id"`
	Op      string `json:"op"`
	Name    string `json:"name"`
	Socket  string `json:"socket"`
	As      string `json:"as"`
	Expect  string `json:"expect"`
	Target  string `json:"target"`
	Text    string `json:"text"`
	Number  int    `json:"number"`
	Count   int    `json:"count"`
	EveryMS int    `json:"every_ms"`
	Own     int    `json:"own"`
	Peer    int    `json:"peer"`

	Questions []question `json:"questions"`
	Audience  []string   `json:"audience"`
	SpiffeID  string     `json:"spiffe_id"`
	Token     string     `json:"token"`
}

// answer is one line of standard output.
type answer map[string]any

var printing sync.Mutex

func print(line answer) {
	data, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	printing.Lock()
	defer printing.Unlock()
	os.Stdout.Write(append(data, '\n'))
}

// obey runs each order in its own goroutine, so that one that waits does not hold up the next.
func obey(do func(order) (answer, error)) error {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil // the test has closed the pipe: it is done with us
		}
		var o order
		if err := json.Unmarshal(line, &o); err != nil {
			return err
		}
		go func() {
			result, err := do(o)
			if result == nil {
				result = answer{}
			}
			if err != nil {
				result["error"] = err.Error()
				result["code"] = int(status.Code(err))
			}
			result["id"] = o.ID
			print(result)
		}()
	}
}
