package ringmq.clients;

import java.util.Objects;

/** Checks that say what was expected and what was there; a failed one ends its case. */
final class Expect {
    private Expect() { }

    /** A condition that may throw, as client calls do. */
    interface Condition {
        boolean holds() throws Exception;
    }

    /** An action of which an exception is expected. */
    interface Action {
        void run() throws Exception;
    }

    static void that(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    static void equal(Object expected, Object actual, String what) {
        if (!Objects.equals(expected, actual)) {
            throw new AssertionError(what + ": expected " + expected + ", was " + actual);
        }
    }

    /** Polls until the condition holds; the limit is generous for slow machines, a pass never waits for it. */
    static void within(int seconds, String what, Condition condition) throws Exception {
        long end = System.nanoTime() + seconds * 1_000_000_000L;
        Exception last = null;
        while (true) {
            try {
                if (condition.holds()) {
                    return;
                }
                last = null;
            } catch (Exception e) {
                last = e;
            }
            if (System.nanoTime() > end) {
                throw new AssertionError("not within " + seconds + " s: " + what + (last == null ? "" : " (" + last + ")"));
            }
            Thread.sleep(50);
        }
    }

    /** The action must throw exactly this kind; the exception is handed back for a look at its code. */
    static <E extends Exception> E raises(Class<E> kind, String what, Action action) {
        try {
            action.run();
        } catch (Exception e) {
            if (kind.isInstance(e)) {
                return kind.cast(e);
            }
            throw new AssertionError(what + ": expected " + kind.getSimpleName() + ", was " + e, e);
        }
        throw new AssertionError(what + ": expected " + kind.getSimpleName() + ", nothing was thrown");
    }
}
