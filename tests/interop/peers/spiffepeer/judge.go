package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/exp/bundle/witbundle"
	"github.com/spiffe/go-spiffe/v2/exp/svid/witsvid"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// question is one thing to judge; tests/support/judge.py says what each kind needs and is answered. Text that
// need not be UTF-8 comes as bytes, which JSON has in base64.
type question struct {
	What        string              `json:"what"`
	Text        []byte              `json:"text"`
	Token       string              `json:"token"`
	Audience    []string            `json:"audience"`
	TrustDomain string              `json:"trust_domain"`
	Document    []byte              `json:"document"`
	Keys        map[string][]byte   `json:"keys"`
	Chain       [][]byte            `json:"chain"`
	Anchors     map[string][][]byte `json:"anchors"`
	Now         int64               `json:"now"`
	Key         []byte              `json:"key"`
	KeyID       string              `json:"kid"`
	Algorithm   string              `json:"alg"`
	Claims      map[string]any      `json:"claims"`
}

var judges = map[string]func(question) (answer, error){
	"id":      judgeID,
	"jwt":     judgeJWT,
	"wit":     judgeWIT,
	"chain":   judgeChain,
	"svid":    judgeSVID,
	"bundle":  judgeBundle,
	"keys":    judgeKeys,
	"anchors": judgeAnchors,
	"sign":    sign,
}

func judge(_ context.Context, o order) (answer, error) {
	verdicts := make([]answer, len(o.Questions))
	for i, q := range o.Questions {
		verdicts[i] = verdict(q)
	}
	return answer{"verdicts": verdicts}, nil
}

// verdict reports a panic of the library like a refusal, with words of its own.
func verdict(q question) (result answer) {
	defer func() {
		if r := recover(); r != nil {
			result = answer{"ok": false, "why": fmt.Sprint("panic: ", r)}
		}
	}()
	do := judges[q.What]
	if do == nil {
		return answer{"ok": false, "why": fmt.Sprintf("no question %q", q.What), "unknown": true}
	}
	result, err := do(q)
	if err != nil {
		return answer{"ok": false, "why": err.Error()}
	}
	result["ok"] = true
	return result
}

func judgeID(q question) (answer, error) {
	id, err := spiffeid.FromString(string(q.Text))
	if err != nil {
		return nil, err
	}
	return answer{"spiffe_id": id.String(), "trust_domain": id.TrustDomain().Name(), "path": id.Path()}, nil
}

func judgeJWT(q question) (answer, error) {
	bundles := jwtbundle.NewSet()
	for name, document := range q.Keys {
		domain, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			return nil, err
		}
		bundle, err := jwtbundle.Parse(domain, document)
		if err != nil {
			return nil, err
		}
		bundles.Add(bundle)
	}
	svid, err := jwtsvid.ParseAndValidate(q.Token, bundles, q.Audience)
	if err != nil {
		return nil, err
	}
	return token(svid), nil
}

func token(svid *jwtsvid.SVID) answer {
	return answer{
		"spiffe_id": svid.ID.String(), "audience": svid.Audience, "expires_at": svid.Expiry.Unix(),
		"hint": svid.Hint, "claims": svid.Claims, "token": svid.Marshal(),
	}
}

func judgeWIT(q question) (answer, error) {
	bundles := witbundle.NewSet()
	for name, document := range q.Keys {
		domain, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			return nil, err
		}
		bundle, err := witbundle.Parse(domain, document)
		if err != nil {
			return nil, err
		}
		bundles.Add(bundle)
	}
	svid, err := witsvid.ParseAndValidate(q.Token, bundles)
	if err != nil {
		return nil, err
	}
	return wit(svid)
}

func wit(svid *witsvid.SVID) (answer, error) {
	key, err := x509.MarshalPKIXPublicKey(svid.PublicKey)
	if err != nil {
		return nil, err
	}
	return answer{
		"spiffe_id": svid.ID.String(), "expires_at": svid.Expiry.Unix(), "kid": svid.KeyID, "key": key,
		"hint": svid.Hint, "token": svid.Marshal(),
	}, nil
}

func judgeChain(q question) (answer, error) {
	bundles := x509bundle.NewSet()
	for name, anchors := range q.Anchors {
		domain, err := spiffeid.TrustDomainFromString(name)
		if err != nil {
			return nil, err
		}
		bundle := x509bundle.New(domain)
		for _, der := range anchors {
			anchor, err := x509.ParseCertificate(der)
			if err != nil {
				return nil, fmt.Errorf("anchor: %w", err)
			}
			bundle.AddX509Authority(anchor)
		}
		bundles.Add(bundle)
	}
	var options []x509svid.VerifyOption
	if q.Now != 0 {
		options = append(options, x509svid.WithTime(time.Unix(q.Now, 0)))
	}
	id, _, err := x509svid.ParseAndVerify(q.Chain, bundles, options...)
	if err != nil {
		return nil, err
	}
	return answer{"spiffe_id": id.String()}, nil
}

func judgeSVID(q question) (answer, error) {
	var der []byte
	for _, each := range q.Chain {
		der = append(der, each...)
	}
	svid, err := x509svid.ParseRaw(der, q.Key)
	if err != nil {
		return nil, err
	}
	certificates, key, err := svid.Marshal()
	if err != nil {
		return nil, err
	}
	return answer{"spiffe_id": svid.ID.String(), "certificates_pem": string(certificates), "key_pem": string(key)}, nil
}

func judgeBundle(q question) (answer, error) {
	domain, err := spiffeid.TrustDomainFromString(q.TrustDomain)
	if err != nil {
		return nil, err
	}
	bundle, err := spiffebundle.Parse(domain, q.Document)
	if err != nil {
		return nil, err
	}
	jwtKeys, err := publicKeys(bundle.JWTAuthorities())
	if err != nil {
		return nil, err
	}
	witKeys, err := publicKeys(bundle.WITAuthorities())
	if err != nil {
		return nil, err
	}
	found := answer{"x509": raw(bundle.X509Authorities()), "jwt": jwtKeys, "wit": witKeys}
	if number, given := bundle.SequenceNumber(); given {
		found["sequence"] = number
	}
	if hint, given := bundle.RefreshHint(); given {
		found["refresh_hint"] = hint.Seconds()
	}
	// It reads keys that it cannot write.
	if found["document"], err = bundle.Marshal(); err != nil {
		found["document"] = []byte(nil)
	}
	return found, nil
}

// judgeKeys reads what the Workload API has of a domain: a key set without any use.
func judgeKeys(q question) (answer, error) {
	domain, err := spiffeid.TrustDomainFromString(q.TrustDomain)
	if err != nil {
		return nil, err
	}
	bundle, err := jwtbundle.Parse(domain, q.Document)
	if err != nil {
		return nil, err
	}
	keys, err := publicKeys(bundle.JWTAuthorities())
	if err != nil {
		return nil, err
	}
	document, err := bundle.Marshal()
	return answer{"jwt": keys, "document": document}, err
}

func judgeAnchors(q question) (answer, error) {
	domain, err := spiffeid.TrustDomainFromString(q.TrustDomain)
	if err != nil {
		return nil, err
	}
	bundle, err := x509bundle.ParseRaw(domain, q.Document)
	if err != nil {
		return nil, err
	}
	written, err := bundle.Marshal()
	return answer{"x509": raw(bundle.X509Authorities()), "certificates_pem": string(written)}, err
}

func raw(certificates []*x509.Certificate) [][]byte {
	found := [][]byte{}
	for _, each := range certificates {
		found = append(found, each.Raw)
	}
	return found
}

func publicKeys(authorities map[string]crypto.PublicKey) (map[string][]byte, error) {
	found := map[string][]byte{}
	for id, key := range authorities {
		der, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			// A key that the library took, though it cannot verify anything.
			der = []byte(fmt.Sprintf("%T", key))
		}
		found[id] = der
	}
	return found, nil
}

func sign(q question) (answer, error) {
	key, err := x509.ParsePKCS8PrivateKey(q.Key)
	if err != nil {
		return nil, err
	}
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", q.KeyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(q.Algorithm), Key: key}, options)
	if err != nil {
		return nil, err
	}
	token, err := jwt.Signed(signer).Claims(q.Claims).Serialize()
	return answer{"token": token}, err
}
