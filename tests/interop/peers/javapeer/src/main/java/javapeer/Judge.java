package javapeer;

import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.JWSHeader;
import com.nimbusds.jose.JWSObject;
import com.nimbusds.jose.JWSSigner;
import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.Payload;
import com.nimbusds.jose.crypto.ECDSASigner;
import com.nimbusds.jose.crypto.RSASSASigner;
import io.spiffe.bundle.jwtbundle.JwtBundle;
import io.spiffe.bundle.jwtbundle.JwtBundleSet;
import io.spiffe.bundle.x509bundle.X509Bundle;
import io.spiffe.bundle.x509bundle.X509BundleSet;
import io.spiffe.internal.CertificateUtils;
import io.spiffe.spiffeid.SpiffeId;
import io.spiffe.spiffeid.TrustDomain;
import io.spiffe.svid.jwtsvid.JwtSvid;
import io.spiffe.svid.x509svid.X509Svid;
import io.spiffe.svid.x509svid.X509SvidValidator;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyFactory;
import java.security.PublicKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.interfaces.ECPrivateKey;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.Date;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** The library's own verdicts. It reads no SPIFFE bundle documents. */
final class Judge {
    private Judge() {}

    /** What was found, or null if there is no such question. */
    static Map<String, Object> judge(Map<String, Object> question) throws Exception {
        return switch (Main.text(question, "what")) {
            case "id" -> id(question);
            case "jwt" -> jwt(question);
            case "chain" -> chain(question);
            case "svid" -> svid(question);
            case "keys" -> keys(question);
            case "anchors" -> anchors(question);
            case "sign" -> sign(question);
            default -> null;
        };
    }

    private static Map<String, Object> id(Map<String, Object> question) {
        SpiffeId found = SpiffeId.parse(new String(Main.bytes(question.get("text")), StandardCharsets.UTF_8));
        return new HashMap<>(Map.of(
            "spiffe_id", found.toString(), "trust_domain", found.getTrustDomain().getName(), "path", found.getPath()));
    }

    private static Map<String, Object> jwt(Map<String, Object> question) throws Exception {
        List<JwtBundle> bundles = new ArrayList<>();
        for (Map.Entry<String, Object> each : Main.members(question.get("keys")).entrySet()) {
            bundles.add(JwtBundle.parse(TrustDomain.parse(each.getKey()), Main.bytes(each.getValue())));
        }
        JwtBundleSet source = bundles.isEmpty() ? JwtBundleSet.emptySet() : JwtBundleSet.of(bundles);
        Set<String> audience = new HashSet<>(Main.texts(question, "audience"));
        return token(JwtSvid.parseAndValidate(Main.text(question, "token"), source, audience));
    }

    static Map<String, Object> token(JwtSvid svid) {
        Map<String, Object> claims = new HashMap<>(svid.getClaims());
        claims.replaceAll((name, value) -> value instanceof Date date ? date.getTime() / 1000 : value);
        Map<String, Object> found = new HashMap<>();
        found.put("spiffe_id", svid.getSpiffeId().toString());
        found.put("audience", new ArrayList<>(svid.getAudience()));
        found.put("expires_at", svid.getExpiry().getTime() / 1000);
        found.put("hint", svid.getHint() == null ? "" : svid.getHint());
        found.put("claims", claims);
        found.put("token", svid.getToken());
        return found;
    }

    private static Map<String, Object> chain(Map<String, Object> question) throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        List<X509Certificate> chain = new ArrayList<>();
        for (String each : Main.texts(question, "chain")) {
            chain.add((X509Certificate) factory.generateCertificate(new ByteArrayInputStream(Main.bytes(each))));
        }
        X509BundleSet bundles = X509BundleSet.emptySet();
        for (Map.Entry<String, Object> each : Main.members(question.get("anchors")).entrySet()) {
            ByteArrayOutputStream all = new ByteArrayOutputStream();
            for (Object der : (List<?>) each.getValue()) {
                all.write(Main.bytes(der));
            }
            bundles.put(X509Bundle.parse(TrustDomain.parse(each.getKey()), all.toByteArray()));
        }
        X509SvidValidator.verifyChain(chain, bundles);
        return new HashMap<>(Map.of("spiffe_id", CertificateUtils.getSpiffeId(chain.get(0)).toString()));
    }

    private static Map<String, Object> svid(Map<String, Object> question) throws Exception {
        ByteArrayOutputStream chain = new ByteArrayOutputStream();
        for (String each : Main.texts(question, "chain")) {
            chain.write(Main.bytes(each));
        }
        X509Svid found = X509Svid.parseRaw(chain.toByteArray(), Main.bytes(question.get("key")));
        return new HashMap<>(Map.of("spiffe_id", found.getSpiffeId().toString()));
    }

    private static Map<String, Object> keys(Map<String, Object> question) throws Exception {
        TrustDomain domain = TrustDomain.parse(Main.text(question, "trust_domain"));
        JwtBundle bundle = JwtBundle.parse(domain, Main.bytes(question.get("document")));
        return new HashMap<>(Map.of("jwt", authorities(bundle)));
    }

    static Map<String, Object> authorities(JwtBundle bundle) {
        Map<String, Object> found = new HashMap<>();
        for (Map.Entry<String, PublicKey> each : bundle.getJwtAuthorities().entrySet()) {
            found.put(each.getKey(), Main.encoded(each.getValue().getEncoded()));
        }
        return found;
    }

    private static Map<String, Object> anchors(Map<String, Object> question) throws Exception {
        TrustDomain domain = TrustDomain.parse(Main.text(question, "trust_domain"));
        X509Bundle bundle = X509Bundle.parse(domain, Main.bytes(question.get("document")));
        List<String> found = new ArrayList<>();
        for (X509Certificate each : bundle.getX509Authorities()) {
            found.add(Main.encoded(each.getEncoded()));
        }
        return new HashMap<>(Map.of("x509", found));
    }

    private static Map<String, Object> sign(Map<String, Object> question) throws Exception {
        JWSAlgorithm algorithm = JWSAlgorithm.parse(Main.text(question, "alg"));
        boolean curved = JWSAlgorithm.Family.EC.contains(algorithm);
        var key = KeyFactory.getInstance(curved ? "EC" : "RSA")
            .generatePrivate(new PKCS8EncodedKeySpec(Main.bytes(question.get("key"))));
        JWSSigner signer = curved ? new ECDSASigner((ECPrivateKey) key) : new RSASSASigner(key);
        JWSHeader header = new JWSHeader.Builder(algorithm)
            .type(JOSEObjectType.JWT).keyID(Main.text(question, "kid")).build();
        JWSObject token = new JWSObject(header, new Payload(Main.members(question.get("claims"))));
        token.sign(signer);
        return new HashMap<>(Map.of("token", token.serialize()));
    }
}
