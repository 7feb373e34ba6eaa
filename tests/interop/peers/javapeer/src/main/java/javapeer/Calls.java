package javapeer;

import io.spiffe.bundle.jwtbundle.JwtBundle;
import io.spiffe.bundle.x509bundle.X509Bundle;
import io.spiffe.spiffeid.SpiffeId;
import io.spiffe.spiffeid.TrustDomain;
import io.spiffe.svid.jwtsvid.JwtSvid;
import io.spiffe.svid.x509svid.X509Svid;
import io.spiffe.workloadapi.DefaultWorkloadApiClient;
import io.spiffe.workloadapi.WorkloadApiClient;
import io.spiffe.workloadapi.X509Context;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Calls of the Workload API. */
final class Calls {
    private Calls() {}

    static Map<String, Object> call(String op, Map<String, Object> order) throws Exception {
        String address = "unix:" + Main.text(order, "socket");
        var options = DefaultWorkloadApiClient.ClientOptions.builder().spiffeSocketPath(address).build();
        try (WorkloadApiClient client = DefaultWorkloadApiClient.newClient(options)) {
            return switch (op) {
                case "fetch" -> fetch(client);
                case "tokens" -> tokens(client, order);
                case "validate" -> Judge.token(
                    client.validateJwtSvid(Main.text(order, "token"), Main.texts(order, "audience").get(0)));
                case "token_keys" -> tokenKeys(client);
                default -> throw new IllegalArgumentException("no operation " + op);
            };
        }
    }

    private static Map<String, Object> fetch(WorkloadApiClient client) throws Exception {
        X509Context got = client.fetchX509Context();
        List<Map<String, Object>> svids = new ArrayList<>();
        for (X509Svid each : got.getX509Svids()) {
            String hint = each.getHint() == null ? "" : each.getHint();
            svids.add(Map.of("id", each.getSpiffeId().toString(), "hint", hint, "chain", each.getChain().size()));
        }
        Map<String, Object> bundles = new HashMap<>();
        for (Map.Entry<TrustDomain, X509Bundle> each : got.getX509BundleSet().getBundles().entrySet()) {
            bundles.put(each.getKey().getName(), each.getValue().getX509Authorities().size());
        }
        return Map.of("svids", svids, "bundles", bundles);
    }

    private static Map<String, Object> tokens(WorkloadApiClient client, Map<String, Object> order) throws Exception {
        List<String> audience = Main.texts(order, "audience");
        String first = audience.get(0);
        String[] others = audience.subList(1, audience.size()).toArray(new String[0]);
        String wanted = Main.text(order, "spiffe_id");
        List<JwtSvid> got = wanted.isEmpty()
            ? client.fetchJwtSvids(first, others)
            : client.fetchJwtSvids(SpiffeId.parse(wanted), first, others);
        List<Map<String, Object>> svids = new ArrayList<>();
        for (JwtSvid each : got) {
            svids.add(Judge.token(each));
        }
        return Map.of("svids", svids);
    }

    private static Map<String, Object> tokenKeys(WorkloadApiClient client) throws Exception {
        Map<String, Object> found = new HashMap<>();
        for (Map.Entry<TrustDomain, JwtBundle> each : client.fetchJwtBundles().getBundles().entrySet()) {
            found.put(each.getKey().getName(), Judge.authorities(each.getValue()));
        }
        return Map.of("bundles", found);
    }
}
