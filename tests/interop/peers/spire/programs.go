//go:build programs

// Package spire names the programs of SPIRE that the interoperability tests build, so that go.mod holds what they need.
package spire

import (
	_ "github.com/spiffe/spire/cmd/spire-agent/cli"
	_ "github.com/spiffe/spire/cmd/spire-server/cli"
)
