package main

import (
	"context"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

func client(ctx context.Context, target string) error {
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	health := healthpb.NewHealthClient(conn)
	for _, service := range []string{"", "nothing"} {
		check(ctx, health, service)
	}
	list(ctx, health)
	if err := reflectV1(ctx, conn); err != nil {
		return err
	}
	if err := reflectV1Alpha(ctx, conn); err != nil {
		return err
	}
	return watch(ctx, health)
}

func check(ctx context.Context, health healthpb.HealthClient, service string) {
	reply, err := health.Check(ctx, &healthpb.HealthCheckRequest{Service: service})
	emit(outcome(map[string]any{"step": "check", "status": reply.GetStatus().String()}, err))
}

func list(ctx context.Context, health healthpb.HealthClient) {
	reply, err := health.List(ctx, &healthpb.HealthListRequest{})
	statuses := map[string]string{}
	for name, each := range reply.GetStatuses() {
		statuses[name] = each.GetStatus().String()
	}
	emit(outcome(map[string]any{"step": "list", "statuses": statuses}, err))
}

func watch(ctx context.Context, health healthpb.HealthClient) error {
	stream, err := health.Watch(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return err
	}
	for range 2 {
		reply, err := stream.Recv()
		emit(outcome(map[string]any{"step": "watch", "status": reply.GetStatus().String()}, err))
		if err != nil {
			return nil
		}
	}
	return nil
}

// outcome adds the status of a call, with the reason in its details.
func outcome(fields map[string]any, err error) map[string]any {
	result := status.Convert(err)
	fields["code"] = int(result.Code())
	fields["message"] = result.Message()
	for _, detail := range result.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			fields["reason"] = info.GetDomain() + "/" + info.GetReason()
		}
	}
	return fields
}
