"""Made by tools/protos.py: a module for each protobuf package."""
