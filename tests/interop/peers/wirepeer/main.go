// Command wirepeer speaks grpc-go's own health and reflection services, as a client or as a server.
//
//	client TARGET   asks everything once, one JSON object a line; the watch goes on until its second state
//	serve SOCKET    serves both and prints a line when ready; each line on standard input flips the health
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: wirepeer client TARGET | serve SOCKET")
		os.Exit(2)
	}
	modes := map[string]func(context.Context, string) error{"client": client, "serve": serve}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := modes[os.Args[1]](ctx, os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "wirepeer:", err)
		os.Exit(1)
	}
}

func emit(fields map[string]any) {
	if err := json.NewEncoder(os.Stdout).Encode(fields); err != nil {
		panic(err)
	}
}
