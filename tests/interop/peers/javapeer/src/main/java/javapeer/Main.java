package javapeer;

import com.nimbusds.jose.util.JSONObjectUtils;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.logging.Level;
import java.util.logging.Logger;

/**
 * A workload on java-spiffe for the interoperability tests.
 *
 * <p>It reads orders from standard input, one JSON object a line, and answers each with one JSON line that carries
 * the order's id; it ends when standard input is closed. The orders are those of {@code peers/spiffepeer/main.go}
 * that tests/support/judge.py knows, as far as the library offers what they ask for.
 */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) throws Exception {
        Logger.getLogger("").setLevel(Level.OFF); // it would write to standard error what the answer says
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Map<String, Object> order = JSONObjectUtils.parse(line);
            Map<String, Object> answer = new HashMap<>();
            try {
                answer.putAll(obey(order));
            } catch (Exception error) {
                answer.put("error", words(error));
                answer.put("code", code(error));
            }
            answer.put("id", order.get("id"));
            out.println(JSONObjectUtils.toJSONString(answer));
        }
    }

    private static Map<String, Object> obey(Map<String, Object> order) throws Exception {
        String op = (String) order.get("op");
        if (!op.equals("judge")) {
            return Calls.call(op, order);
        }
        List<Map<String, Object>> verdicts = new ArrayList<>();
        for (Object question : (List<?>) order.get("questions")) {
            verdicts.add(verdict(members(question)));
        }
        return Map.of("verdicts", verdicts);
    }

    private static Map<String, Object> verdict(Map<String, Object> question) {
        try {
            Map<String, Object> found = Judge.judge(question);
            if (found == null) {
                return Map.of("ok", false, "why", "no question " + question.get("what"), "unknown", true);
            }
            found.put("ok", true);
            return found;
        } catch (Exception | StackOverflowError error) {
            return Map.of("ok", false, "why", words(error));
        }
    }

    static String words(Throwable error) {
        StringBuilder words = new StringBuilder();
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
            words.append(words.isEmpty() ? "" : " < ").append(cause.getClass().getSimpleName());
            words.append(": ").append(cause.getMessage());
        }
        return words.toString();
    }

    private static int code(Throwable error) {
        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
            if (cause instanceof StatusRuntimeException status) {
                return status.getStatus().getCode().value();
            }
        }
        return Status.Code.UNKNOWN.value();
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> members(Object object) {
        return object == null ? Map.of() : (Map<String, Object>) object;
    }

    static String text(Map<String, Object> from, String name) {
        Object value = from.get(name);
        return value == null ? "" : (String) value;
    }

    static List<String> texts(Map<String, Object> from, String name) {
        List<String> found = new ArrayList<>();
        for (Object each : from.get(name) == null ? List.of() : (List<?>) from.get(name)) {
            found.add((String) each);
        }
        return found;
    }

    static byte[] bytes(Object value) {
        return Base64.getDecoder().decode((String) value);
    }

    static String encoded(byte[] data) {
        return Base64.getEncoder().encodeToString(data);
    }
}
