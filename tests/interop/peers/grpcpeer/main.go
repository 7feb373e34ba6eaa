// Command grpcpeer is a grpc-go server and client for the interoperability tests and the benchmark.
//
// Every mode reads orders from standard input, one JSON object a line, and answers each with one JSON line
// that carries the order's id; it ends when standard input is closed, so it never outlives the test.
//
//	serve   serves finial.test.Peer and prints its address as the first line
//	client  makes calls, raw HTTP/2 floods and TLS probes as ordered
//	load    loads one server, for the benchmark
package main

import (
	"fmt"
	"os"
)

func main() {
	modes := map[string]func([]string) error{"serve": serve, "client": client, "load": load}
	if len(os.Args) < 2 || modes[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: grpcpeer serve|client|load [flags]")
		os.Exit(2)
	}
	if err := modes[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "grpcpeer:", err)
		os.Exit(1)
	}
}
