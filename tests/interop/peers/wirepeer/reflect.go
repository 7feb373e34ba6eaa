package main

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	alphapb "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// reflectV1 lists the services, builds the descriptors of each and names their methods.
func reflectV1(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return err
	}
	ask := func(request *reflectionpb.ServerReflectionRequest) (*reflectionpb.ServerReflectionResponse, error) {
		if err := stream.Send(request); err != nil {
			return nil, err
		}
		return stream.Recv()
	}
	listed, err := ask(&reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{},
	})
	if err != nil {
		return err
	}
	files := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	names := []string{}
	for _, service := range listed.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
		reply, err := ask(bySymbol(service.GetName()))
		if err != nil {
			return err
		}
		if err := collect(files, seen, reply.GetFileDescriptorResponse().GetFileDescriptorProto()); err != nil {
			return err
		}
	}
	methods, err := describe(files, names)
	if err != nil {
		return err
	}
	missing, err := ask(bySymbol("not.There"))
	if err != nil {
		return err
	}
	emit(map[string]any{"step": "v1", "methods": methods, "missing": missing.GetErrorResponse().GetErrorCode()})
	return stream.CloseSend()
}

func bySymbol(name string) *reflectionpb.ServerReflectionRequest {
	return &reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: name},
	}
}

func collect(files *descriptorpb.FileDescriptorSet, seen map[string]bool, serialised [][]byte) error {
	for _, data := range serialised {
		file := &descriptorpb.FileDescriptorProto{}
		if err := proto.Unmarshal(data, file); err != nil {
			return err
		}
		if !seen[file.GetName()] {
			seen[file.GetName()] = true
			files.File = append(files.File, file)
		}
	}
	return nil
}

func describe(files *descriptorpb.FileDescriptorSet, services []string) (map[string][]string, error) {
	registry, err := protodesc.NewFiles(files)
	if err != nil {
		return nil, err
	}
	methods := map[string][]string{}
	for _, name := range services {
		found, err := registry.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		list := found.(protoreflect.ServiceDescriptor).Methods()
		for index := range list.Len() {
			methods[name] = append(methods[name], string(list.Get(index).Name()))
		}
	}
	return methods, nil
}

// reflectV1Alpha asks the earlier version for the names alone.
func reflectV1Alpha(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := alphapb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		return err
	}
	request := &alphapb.ServerReflectionRequest{MessageRequest: &alphapb.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(request); err != nil {
		return err
	}
	reply, err := stream.Recv()
	if err != nil {
		return err
	}
	names := []string{}
	for _, service := range reply.GetListServicesResponse().GetService() {
		names = append(names, service.GetName())
	}
	emit(map[string]any{"step": "v1alpha", "services": names})
	return stream.CloseSend()
}
