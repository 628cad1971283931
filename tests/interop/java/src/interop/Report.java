package interop;

import java.util.Collection;
import java.util.Objects;
import java.util.TreeSet;
import java.util.function.BooleanSupplier;

/**
 * One line of output per check, {@code PASS name detail} or {@code FAIL name detail}, and the small
 * vocabulary the checks are written in. A check is a function that returns a detail for the reader
 * or throws; what it throws is the detail of the FAIL line, and its stack goes to stderr.
 */
final class Report {
    /** How long a check waits for something the broker ought to do at once. */
    static final int SOON = 20;

    interface Check {
        String run() throws Exception;
    }

    private int passed;
    private int failed;

    void check(String name, Check check) {
        try {
            String detail = check.run();
            passed++;
            line("PASS", name, detail);
        } catch (Exception | AssertionError e) {
            fail(name, e);
        }
    }

    void fail(String name, Throwable e) {
        failed++;
        e.printStackTrace();
        line("FAIL", name, e instanceof AssertionError ? e.getMessage() : e.toString());
    }

    boolean good() {
        return failed == 0 && passed > 0;
    }

    private static void line(String verdict, String name, String detail) {
        System.out.println(verdict + " " + name + " " + detail.replace('\n', ' '));
        System.out.flush();
    }

    static void require(boolean condition, String complaint, Object... args) {
        if (!condition) {
            throw new AssertionError(String.format(complaint, args));
        }
    }

    static void same(String what, Object expected, Object actual) {
        require(Objects.equals(expected, actual), "%s: expected %s, got %s", what, expected,
            actual);
    }

    /** Each element of {@code expected} once and nothing else, in any order. */
    static void sameElements(String what, Collection<String> expected, Collection<String> actual) {
        TreeSet<String> missing = new TreeSet<>(expected);
        missing.removeAll(actual);
        TreeSet<String> extra = new TreeSet<>(actual);
        extra.removeAll(expected);
        require(missing.isEmpty() && extra.isEmpty() && expected.size() == actual.size(),
            "%s: expected %d, got %d; missing %s, unexpected %s", what, expected.size(),
            actual.size(),
            missing, extra);
    }

    static void await(String what, BooleanSupplier condition) {
        await(what, SOON, condition);
    }

    static void await(String what, int seconds, BooleanSupplier condition) {
        long deadline = System.nanoTime() + seconds * 1_000_000_000L;
        while (!condition.getAsBoolean()) {
            require(System.nanoTime() < deadline, "not within %d s: %s", seconds, what);
            try {
                Thread.sleep(20);
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }
    }
}
