package main

import (
	"bufio"
	"context"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
)

func serve(_ context.Context, socket string) error {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	state := health.NewServer()
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, state)
	reflection.Register(server)
	go func() {
		lines := bufio.NewScanner(os.Stdin)
		for serving := false; lines.Scan(); serving = !serving {
			status := healthpb.HealthCheckResponse_NOT_SERVING
			if serving {
				status = healthpb.HealthCheckResponse_SERVING
			}
			state.SetServingStatus("", status)
		}
		server.Stop()
	}()
	emit(map[string]any{"step": "ready"})
	return server.Serve(listener)
}
