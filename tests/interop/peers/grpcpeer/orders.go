package main

import (
	"bufio"
	"encoding/json"
	"os"
	"sync"
)

// order is one line of standard input. Which fields matter depends on the operation.
type order struct {
	ID        int               `json:"id"`
	Op        string            `json:"op"`
	Conn      string            `json:"conn"`
	Call      string            `json:"call"`
	Target    string            `json:"target"`
	Method    string            `json:"method"`
	Steps     string            `json:"steps"`
	Kind      string            `json:"kind"`
	Count     int               `json:"count"`
	Workers   int               `json:"workers"`
	Limit     int               `json:"limit"`
	Pad       int               `json:"pad"`
	Window    int32             `json:"window"`
	TimeoutMS int               `json:"timeout_ms"`
	Gzip      bool              `json:"gzip"`
	Read      bool              `json:"read"`
	Metadata  map[string]string `json:"metadata"`
	TLS       *tlsFiles         `json:"tls"`
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
			}
			result["id"] = o.ID
			print(result)
		}()
	}
}
