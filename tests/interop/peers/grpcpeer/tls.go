package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// tlsFiles says which certificate to show, which roots to trust and which SPIFFE ID to expect of the peer.
type tlsFiles struct {
	Cert   string `json:"cert"`
	Key    string `json:"key"`
	Roots  string `json:"roots"`
	Expect string `json:"expect"`
	Max    uint16 `json:"max"`
}

func uriSAN(leaf *x509.Certificate) string {
	if len(leaf.URIs) != 1 {
		return ""
	}
	return leaf.URIs[0].String()
}

// config checks the peer as SPIFFE does: chain and URI SAN, never a host name.
func (f *tlsFiles) config() (*tls.Config, error) {
	config := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		MaxVersion:         f.Max,
		ClientAuth:         tls.RequestClientCert,
		InsecureSkipVerify: true,
	}
	if f.Cert != "" {
		pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	pem, err := os.ReadFile(f.Roots)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", f.Roots)
	}
	config.VerifyPeerCertificate = func(raw [][]byte, _ [][]*x509.Certificate) error {
		return f.verify(raw, roots)
	}
	return config, nil
}

func (f *tlsFiles) verify(raw [][]byte, roots *x509.CertPool) error {
	if len(raw) == 0 {
		return nil // an anonymous client; a server always shows a certificate
	}
	chain := make([]*x509.Certificate, 0, len(raw))
	for _, der := range raw {
		certificate, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		chain = append(chain, certificate)
	}
	between := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		between.AddCert(certificate)
	}
	options := x509.VerifyOptions{
		Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	if _, err := chain[0].Verify(options); err != nil {
		return err
	}
	if id := uriSAN(chain[0]); id != f.Expect {
		return fmt.Errorf("peer is %q, not %q", id, f.Expect)
	}
	return nil
}

func transportCredentials(files *tlsFiles) (credentials.TransportCredentials, error) {
	if files == nil {
		return insecure.NewCredentials(), nil
	}
	config, err := files.config()
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(config), nil
}
