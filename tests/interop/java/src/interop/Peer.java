package interop;

import java.util.Map;
import java.util.TreeMap;

/**
 * The Java client as a test peer: {@code Peer NAMESRV SCENARIO PREFIX}. Runs one scenario, prints a
 * PASS or FAIL line per check, and exits 0 only if there was at least one check and none failed.
 */
public final class Peer {
    interface Scenario {
        void run(Clients clients, Report report) throws Exception;
    }

    /** Beyond this a scenario is stuck: the longest takes half a minute. */
    private static final long LIMIT_MS = 120_000;

    private static final Map<String, Scenario> SCENARIOS = new TreeMap<>(Map.ofEntries(
        Map.entry("send", Sending::send),
        Map.entry("consume", Consuming::consume),
        Map.entry("broadcast", Consuming::broadcast),
        Map.entry("orderly", Consuming::orderly),
        Map.entry("delay", Delivering::delay),
        Map.entry("retry", Delivering::retry),
        Map.entry("dlq", Delivering::dlq),
        Map.entry("transaction", Transactions::transaction),
        Map.entry("pull", Pulling::pull),
        Map.entry("litepull", Pulling::litePull),
        Map.entry("probe-produce", Probe::produce),
        Map.entry("probe-consume", Probe::consume)));

    private Peer() {
    }

    public static void main(String[] args) {
        if (args.length != 3 || !SCENARIOS.containsKey(args[1])) {
            System.err.println("usage: Peer NAMESRV SCENARIO PREFIX, SCENARIO one of "
                + SCENARIOS.keySet());
            System.exit(2);
        }
        // Read once by the client's classes: look for lost or new group members every second
        // instead of every 20.
        System.setProperty("rocketmq.client.rebalance.waitInterval", "1000");
        Report report = new Report();
        watch(args[1]);
        try (Clients clients = new Clients(args[0], args[2])) {
            SCENARIOS.get(args[1]).run(clients, report);
        } catch (Exception | AssertionError e) {
            report.fail(args[1], e);
        }
        System.exit(report.good() ? 0 : 1);
    }

    private static void watch(String scenario) {
        Thread watchdog = new Thread(() -> {
            try {
                Thread.sleep(LIMIT_MS);
            } catch (InterruptedException e) {
                return;
            }
            System.out.println("FAIL " + scenario + " still running after " + LIMIT_MS + " ms");
            System.out.flush();
            Thread.getAllStackTraces().forEach((thread, stack) -> {
                System.err.println(thread);
                for (StackTraceElement frame : stack) {
                    System.err.println("    " + frame);
                }
            });
            Runtime.getRuntime().halt(3);
        }, "watchdog");
        watchdog.setDaemon(true);
        watchdog.start();
    }
}
