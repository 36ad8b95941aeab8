package ringmq.clients;

import java.lang.reflect.InvocationTargetException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/**
 * Runs cases against a running cluster: {@code --namesrv host:port [--suite name,…] [--case name] [--threads n]}.
 * Prints {@code ok <name>} or {@code FAIL <name>: reason} for each and {@code N passed, N failed} at the end.
 */
public final class Main {
    /** A whole generation must be through by then; a case that hangs is reported as failed. */
    private static final int LIMIT_SECONDS = System.getenv("RINGMQ_LONG") == null ? 150 : 300;

    /** One test; throws when it fails. */
    interface Case {
        void run(Scope scope) throws Exception;
    }

    private Main() { }

    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new LinkedHashMap<>();
        for (int i = 0; i + 1 < arguments.length; i += 2) {
            options.put(arguments[i], arguments[i + 1]);
        }
        String namesrv = options.get("--namesrv");
        if (namesrv == null || arguments.length % 2 != 0) {
            System.err.println("usage: --namesrv host:port [--suite name,…] [--case name] [--threads n]");
            System.exit(2);
        }
        Map<String, Case> cases = select(options);
        if (cases.isEmpty()) {
            System.err.println("no such suite or case: " + options);
            System.exit(2);
        }

        Environment environment = new Environment(namesrv);
        // Most cases wait for time to pass (rebalance, retry delay), so more threads than cores pay.
        ExecutorService pool = Executors.newFixedThreadPool(Integer.parseInt(options.getOrDefault("--threads", "8")));
        Set<String> running = ConcurrentHashMap.newKeySet();
        Map<String, String> outcome = new ConcurrentHashMap<>();
        cases.forEach((name, test) -> pool.execute(() -> {
            running.add(name);
            long start = System.nanoTime();
            String failure = attempt(environment, name, test);
            long millis = (System.nanoTime() - start) / 1_000_000;
            running.remove(name);
            outcome.put(name, failure);
            System.out.println((failure.isEmpty() ? "ok " + name : "FAIL " + name + ": " + failure) + "  [" + millis + " ms]");
        }));
        pool.shutdown();
        boolean whole = pool.awaitTermination(LIMIT_SECONDS, TimeUnit.SECONDS);
        for (String name : cases.keySet()) {
            if (!outcome.containsKey(name)) {
                System.out.println("FAIL " + name + ": " + (running.contains(name) ? "hangs" : "never started") + " after " + LIMIT_SECONDS + " s");
            }
        }
        long passed = outcome.values().stream().filter(String::isEmpty).count();
        if (whole) {
            environment.close();
        }
        System.out.println(passed + " passed, " + (cases.size() - passed) + " failed");
        System.out.flush();
        // Clients leave threads behind when a case has failed half-way.
        Runtime.getRuntime().halt(passed == cases.size() ? 0 : 1);
    }

    /** The empty string, or why the case failed. */
    private static String attempt(Environment environment, String name, Case test) {
        try (Scope scope = new Scope(environment, name)) {
            test.run(scope);
            return "";
        } catch (Throwable e) {
            e.printStackTrace();
            return e.toString().replace('\n', ' ');
        }
    }

    /** Slow cases first, so that the fast ones fill the gaps. */
    private static Map<String, Case> select(Map<String, String> options) throws Exception {
        Map<String, Map<String, Case>> suites = new LinkedHashMap<>();
        suites.put("storm", StormCases.all());
        suites.put("retry", RetryCases.all());
        suites.put("push", PushCases.all());
        suites.put("sql", SqlFilterCases.all());
        suites.put("orderly", OrderlyCases.all());
        suites.put("start", StartPointCases.all());
        suites.put("pop", optional("PopCases"));
        suites.put("lite", optional("LitePullCases"));
        suites.put("pull", PullCases.all());
        suites.put("query", QueryCases.all());
        suites.put("send", SendCases.all());
        suites.put("refused", RefusedSendCases.all());
        String wanted = options.getOrDefault("--suite", "all");
        Map<String, Case> cases = new LinkedHashMap<>();
        suites.forEach((suite, members) -> {
            if (wanted.equals("all") || List.of(wanted.split(",")).contains(suite)) {
                cases.putAll(members);
            }
        });
        if (options.containsKey("--case")) {
            cases.keySet().retainAll(Set.of(options.get("--case").split(",")));
        }
        return cases;
    }

    /** Lite pull exists from 4.6 on, popping from 5.0: their cases are compiled in only where the client has them. */
    @SuppressWarnings("unchecked")
    private static Map<String, Case> optional(String cases) throws ReflectiveOperationException {
        Class<?> kind;
        try {
            kind = Class.forName("ringmq.clients." + cases);
        } catch (ClassNotFoundException e) {
            return Map.of();
        }
        try {
            return (Map<String, Case>) kind.getDeclaredMethod("all").invoke(null);
        } catch (InvocationTargetException e) {
            throw new IllegalStateException(e.getCause());
        }
    }
}
