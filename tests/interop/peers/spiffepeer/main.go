// Command spiffepeer is a workload on go-spiffe for the interoperability tests and the soak.
//
// It reads orders from standard input, one JSON object a line, and answers each with one JSON line that
// carries the order's id; it ends when standard input is closed, so it never outlives the test.
//
//	fetch     one X.509 context of the Workload API at `socket`
//	watch     follow it under a `name`; `update` and `failure` wait for the one of a `number`, from 1 on,
//	          and `watched` tells how many there were of each
//	serve     answer mTLS connections at `target` from peers with the ID `expect`; `served` counts them
//	call      one mTLS connection to `target`, whose ID is `expect`
//	dial      a new mTLS connection every `every_ms` under a `name`; `dialled` waits until there were `count`,
//	          and on them so many different certificates as `own` and `peer` say
//	stop      end what has this `name` and tell its last figures
//
// These make one call each of the Workload API at `socket`, and tests/support/judge.py knows their answers:
//
//	tokens      JWT-SVIDs for an `audience`, of one `spiffe_id` or of all
//	validate    its judgement on a `token` for one `audience`
//	token_keys  the keys for JWT-SVIDs of each trust domain
//	wits        WIT-SVIDs with their keys, of one `spiffe_id` or of all
//	wit_keys    the keys for WIT-SVIDs of each trust domain
//	load        as many calls as it can from `count` connections at once
//	judge       needs no socket: the library's own verdicts on `questions`
//	time        nor does this: how long the library takes for each of `questions`, over `count` times
//
// serve, call and dial show the SVID whose ID is `as`, or the default one, as it is at that moment.
package main

import (
	"context"
	"fmt"
	"os"
)

func main() {
	program := newProgram()
	orders := map[string]func(context.Context, order) (answer, error){
		"fetch":   fetch,
		"watch":   program.watch,
		"update":  program.news,
		"failure": program.news,
		"watched": program.figures,
		"serve":   program.serve,
		"served":  program.figures,
		"call":    program.call,
		"dial":    program.dial,
		"dialled": program.figures,
		"stop":    program.stop,

		"tokens":     fetchTokens,
		"validate":   validateToken,
		"token_keys": fetchTokenKeys,
		"wits":       fetchWITs,
		"wit_keys":   fetchWITKeys,
		"judge":      judge,
		"time":       timing,
		"load":       load,
	}
	err := obey(func(o order) (answer, error) {
		do := orders[o.Op]
		if do == nil {
			return nil, fmt.Errorf("no operation %q", o.Op)
		}
		return do(context.Background(), o)
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "spiffepeer:", err)
		os.Exit(1)
	}
}
