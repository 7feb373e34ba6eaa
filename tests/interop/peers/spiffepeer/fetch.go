package main

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

const patience = 20 * time.Second

// certificate is what a test compares of a leaf.
func certificate(leaf *x509.Certificate) answer {
	return answer{
		"serial":     leaf.SerialNumber.Text(16),
		"authority":  hex.EncodeToString(leaf.AuthorityKeyId),
		"not_before": leaf.NotBefore.Unix(),
		"not_after":  leaf.NotAfter.Unix(),
	}
}

// describe tells what came, and for each SVID whether it verifies under the bundles that came with it.
func describe(got *workloadapi.X509Context) answer {
	svids := []answer{}
	for _, each := range got.SVIDs {
		svid := certificate(each.Certificates[0])
		svid["id"] = each.ID.String()
		svid["hint"] = each.Hint
		svid["chain"] = len(each.Certificates)
		svid["refused"] = ""
		if _, _, err := x509svid.Verify(each.Certificates, got.Bundles); err != nil {
			svid["refused"] = err.Error()
		}
		svids = append(svids, svid)
	}
	bundles := map[string]int{}
	for _, each := range got.Bundles.Bundles() {
		bundles[each.TrustDomain().Name()] = len(each.X509Authorities())
	}
	return answer{"svids": svids, "bundles": bundles}
}

func fetch(ctx context.Context, o order) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	got, err := workloadapi.FetchX509Context(ctx, workloadapi.WithAddr("unix://"+o.Socket))
	if err != nil {
		return nil, err
	}
	return describe(got), nil
}
