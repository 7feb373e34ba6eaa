package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

// ask makes one call of the Workload API at the order's socket.
func ask(o order, do func(context.Context, *workloadapi.Client) (answer, error)) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := workloadapi.New(ctx, workloadapi.WithAddr("unix://"+o.Socket))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return do(ctx, client)
}

func fetchTokens(_ context.Context, o order) (answer, error) {
	if len(o.Audience) == 0 {
		return nil, fmt.Errorf("this library always asks for an audience")
	}
	params := jwtsvid.Params{Audience: o.Audience[0], ExtraAudiences: o.Audience[1:]}
	if o.SpiffeID != "" {
		wanted, err := spiffeid.FromString(o.SpiffeID)
		if err != nil {
			return nil, err
		}
		params.Subject = wanted
	}
	return ask(o, func(ctx context.Context, client *workloadapi.Client) (answer, error) {
		svids, err := client.FetchJWTSVIDs(ctx, params)
		if err != nil {
			return nil, err
		}
		found := []answer{}
		for _, each := range svids {
			found = append(found, token(each))
		}
		return answer{"svids": found}, nil
	})
}

func validateToken(_ context.Context, o order) (answer, error) {
	return ask(o, func(ctx context.Context, client *workloadapi.Client) (answer, error) {
		svid, err := client.ValidateJWTSVID(ctx, o.Token, o.Audience[0])
		if err != nil {
			return nil, err
		}
		return token(svid), nil
	})
}

func fetchTokenKeys(_ context.Context, o order) (answer, error) {
	return ask(o, func(ctx context.Context, client *workloadapi.Client) (answer, error) {
		got, err := client.FetchJWTBundles(ctx)
		if err != nil {
			return nil, err
		}
		found := map[string]map[string][]byte{}
		for _, each := range got.Bundles() {
			if found[each.TrustDomain().Name()], err = publicKeys(each.JWTAuthorities()); err != nil {
				return nil, err
			}
		}
		return answer{"bundles": found}, nil
	})
}

// fetchWITs also tells whether the private key that came is the one that the token names.
func fetchWITs(_ context.Context, o order) (answer, error) {
	return ask(o, func(ctx context.Context, client *workloadapi.Client) (answer, error) {
		svids, err := client.FetchWITSVIDs(ctx, o.SpiffeID)
		if err != nil {
			return nil, err
		}
		found := []answer{}
		for _, each := range svids {
			told, err := wit(each)
			if err != nil {
				return nil, err
			}
			key, err := x509.MarshalPKCS8PrivateKey(each.PrivateKey)
			if err != nil {
				return nil, err
			}
			signer, is := each.PrivateKey.(crypto.Signer)
			public, _ := x509.MarshalPKIXPublicKey(signer.Public())
			told["private_key"], told["paired"] = key, is && string(public) == string(told["key"].([]byte))
			found = append(found, told)
		}
		return answer{"svids": found}, nil
	})
}

func fetchWITKeys(_ context.Context, o order) (answer, error) {
	return ask(o, func(ctx context.Context, client *workloadapi.Client) (answer, error) {
		got, err := client.FetchWITBundles(ctx)
		if err != nil {
			return nil, err
		}
		found := map[string]map[string][]byte{}
		for _, each := range got.Bundles() {
			if found[each.TrustDomain().Name()], err = publicKeys(each.WITAuthorities()); err != nil {
				return nil, err
			}
		}
		return answer{"bundles": found}, nil
	})
}
