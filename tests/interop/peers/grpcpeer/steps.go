package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// A request is a list of steps, separated by semicolons, that steer the handler. The Python peer of the tests
// knows the same ones:
//
//	echo:REST            emit REST, which may hold anything and so is always the last step
//	size:N               emit a message of N bytes (see pattern)
//	count:N              emit "0", "1", ... "N-1"
//	count:N:SIZE         emit N messages of SIZE bytes, raising the progress after each
//	progress             emit how many messages `count` has emitted since the server started
//	fail:CODE:MESSAGE    end the call with this status
//	details:CODE:MESSAGE the same, with one BytesValue "detail" in its status details
//	hang:NAME            wait until the call is cancelled
//	idle                 the same, but leaves no trace
//	started:NAME         wait until the handler of that `hang` has begun
//	fate:NAME            wait until the handler of that `hang` has ended, emit "ended"
//	metadata             emit the request's metadata named x-..., one k=v a line, sorted, and send some back
//	peer                 emit the SPIFFE ID of the client's certificate, or "anonymous"
//	name                 emit the server's name
//	connections          emit how many connections the server has accepted (grpc-go only)
//	return               end the call with OK, whatever the client has still to say
type board struct {
	name        string
	progress    atomic.Int64
	connections atomic.Int64
	lock        sync.Mutex
	began       map[string]chan struct{}
	ended       map[string]chan struct{}
}

func newBoard(name string) *board {
	return &board{name: name, began: map[string]chan struct{}{}, ended: map[string]chan struct{}{}}
}

func (b *board) event(events map[string]chan struct{}, name string) chan struct{} {
	b.lock.Lock()
	defer b.lock.Unlock()
	if events[name] == nil {
		events[name] = make(chan struct{})
	}
	return events[name]
}

// pattern is a message that compresses and still shows where bytes went missing.
func pattern(size int) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i % 251)
	}
	return data
}

type emitter func([]byte) error

// run does the steps of one request and tells whether `return` was among them.
func (b *board) run(ctx context.Context, request []byte, emit emitter) (bool, error) {
	rest := string(request)
	for rest != "" {
		if text, found := strings.CutPrefix(rest, "echo:"); found {
			return false, emit([]byte(text))
		}
		var step string
		step, rest, _ = strings.Cut(rest, ";")
		if step == "return" {
			return true, nil
		}
		if err := b.step(ctx, strings.SplitN(step, ":", 3), emit); err != nil {
			return true, err
		}
	}
	return false, nil
}

func (b *board) step(ctx context.Context, words []string, emit emitter) error {
	text := ""
	switch words[0] {
	case "size":
		return emit(pattern(number(words[1])))
	case "count":
		return b.count(words, emit)
	case "progress":
		text = strconv.FormatInt(b.progress.Load(), 10)
	case "connections":
		text = strconv.FormatInt(b.connections.Load(), 10)
	case "fail":
		return status.Error(codes.Code(number(words[1])), words[2])
	case "details":
		st, err := status.New(codes.Code(number(words[1])), words[2]).WithDetails(wrapperspb.Bytes([]byte("detail")))
		if err != nil {
			return err
		}
		return st.Err()
	case "hang":
		close(b.event(b.began, words[1]))
		<-ctx.Done()
		close(b.event(b.ended, words[1]))
		return status.FromContextError(ctx.Err()).Err()
	case "idle":
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	case "started":
		return await(ctx, b.event(b.began, words[1]))
	case "fate":
		if err := await(ctx, b.event(b.ended, words[1])); err != nil {
			return err
		}
		text = "ended"
	case "metadata":
		text = requestMetadata(ctx)
	case "peer":
		text = peerName(ctx)
	case "name":
		text = b.name
	default:
		return status.Errorf(codes.InvalidArgument, "no step %q", words[0])
	}
	return emit([]byte(text))
}

func (b *board) count(words []string, emit emitter) error {
	for i := range number(words[1]) {
		message := []byte(strconv.Itoa(i))
		if len(words) == 3 {
			message = pattern(number(words[2]))
		}
		if err := emit(message); err != nil {
			return err
		}
		b.progress.Add(1)
	}
	return nil
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	if err != nil {
		panic(err) // only the tests write steps
	}
	return value
}

func await(ctx context.Context, event chan struct{}) error {
	select {
	case <-event:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func requestMetadata(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	return strings.Join(lines(md), "\n")
}

// lines shows the x-... entries, binary ones in base64.
func lines(md metadata.MD) []string {
	all := []string{}
	for key, values := range md {
		if !strings.HasPrefix(key, "x-") {
			continue
		}
		for _, value := range values {
			if strings.HasSuffix(key, "-bin") {
				value = base64.StdEncoding.EncodeToString([]byte(value))
			}
			all = append(all, fmt.Sprintf("%s=%s", key, value))
		}
	}
	sort.Strings(all)
	return all
}

func peerName(ctx context.Context) string {
	from, _ := peer.FromContext(ctx)
	info, isTLS := from.AuthInfo.(credentials.TLSInfo)
	if !isTLS || len(info.State.PeerCertificates) == 0 {
		return "anonymous"
	}
	return uriSAN(info.State.PeerCertificates[0])
}
