package ringmq.clients;

import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Push consumers: sharing queues, taking over, broadcasting, filtering, waiting, going on after a restart. */
final class PushCases {
    private PushCases() { }

    static Map<String, Main.Case> all() {
        Map<String, Main.Case> cases = new LinkedHashMap<>();
        cases.put("push_take_over", PushCases::takeOver);
        cases.put("push_broadcasting", PushCases::broadcasting);
        cases.put("push_tag_filter", PushCases::tagFilter);
        cases.put("push_two_groups", PushCases::twoGroups);
        cases.put("push_batches_of_listener", PushCases::listenerBatches);
        cases.put("push_wakes_held_pull", PushCases::wakesHeldPull);
        cases.put("push_offsets_survive_restart", PushCases::offsetsSurviveRestart);
        return cases;
    }

    static MessageListenerConcurrently recording(Ledger ledger, String who) {
        return (messages, context) -> {
            messages.forEach(message -> ledger.seen(who, message));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
    }

    static DefaultMQPushConsumer start(Scope scope, String who, String tags) throws Exception {
        DefaultMQPushConsumer consumer = scope.push();
        consumer.subscribe(scope.topic, tags);
        consumer.registerMessageListener(recording(scope.ledger, who));
        consumer.start();
        return consumer;
    }

    /** Between them the consumers hold every queue, each queue once, and none of them is idle. */
    static void awaitShared(Scope scope, int queues, DefaultMQPushConsumer... consumers) throws Exception {
        Expect.within(30, queues + " queues shared by " + consumers.length, () -> {
            Set<MessageQueue> union = new HashSet<>();
            int sum = 0;
            for (DefaultMQPushConsumer consumer : consumers) {
                Set<MessageQueue> held = scope.held(consumer);
                if (held.size() < queues / consumers.length) {
                    return false;
                }
                union.addAll(held);
                sum += held.size();
            }
            return union.size() == queues && sum == queues;
        });
    }

    private static void takeOver(Scope scope) throws Exception {
        scope.createTopic(8);
        DefaultMQPushConsumer first = start(scope, "first", "*");
        DefaultMQPushConsumer second = start(scope, "second", "*");
        awaitShared(scope, 8, first, second);
        scope.sendSync(400);
        scope.ledger.awaitAll(20);
        Expect.that(scope.ledger.distinctSeenBy("first") >= 150 && scope.ledger.distinctSeenBy("second") >= 150,
            "a fair share each, was " + scope.ledger.distinctSeenBy("first") + " and " + scope.ledger.distinctSeenBy("second"));
        Expect.equal(0, scope.ledger.duplicates(), "deliveries twice while nothing moved");

        // One leaves while messages keep coming.
        AtomicBoolean stop = new AtomicBoolean();
        AtomicReference<Throwable> failure = new AtomicReference<>();
        Thread sender = new Thread(() -> {
            try {
                while (!stop.get() && scope.ledger.expectedCount() < 20_000) {
                    scope.sendSync(1);
                    Thread.sleep(2);
                }
            } catch (Throwable e) {
                failure.set(e);
            }
        });
        sender.start();
        Thread.sleep(300);
        second.shutdown();
        // Sooner than the client's own period of 20 s: the broker must have sent its notice.
        long leaving = System.nanoTime();
        awaitShared(scope, 8, first);
        long tookMillis = (System.nanoTime() - leaving) / 1_000_000;
        stop.set(true);
        sender.join();
        Expect.equal(null, failure.get(), "failure of the sender");
        scope.sendSync(100);
        scope.ledger.awaitAll(20);
        scope.ledger.checkContents();
        Expect.that(tookMillis < 10_000, "the notice of the leaving consumer, not the period: took " + tookMillis + " ms");
        Expect.that(scope.ledger.duplicates() <= scope.ledger.expectedCount() / 4,
            "few messages twice at the hand-over, was " + scope.ledger.duplicates() + " of " + scope.ledger.expectedCount());
    }

    private static void broadcasting(Scope scope) throws Exception {
        scope.createTopic(4);
        for (String who : List.of("first", "second")) {
            DefaultMQPushConsumer consumer = scope.push();
            Scope.broadcast(consumer);
            consumer.subscribe(scope.topic, "*");
            consumer.registerMessageListener(recording(scope.ledger, who));
            consumer.start();
            Expect.within(20, who + " holds all queues", () -> scope.held(consumer).size() == 4);
        }
        scope.sendSync(100);
        Expect.within(20, "both received all", () -> scope.ledger.missingAt("first") == 0 && scope.ledger.missingAt("second") == 0);
        scope.ledger.checkContents();
        Expect.equal(200, scope.ledger.arrivals().size(), "deliveries");
    }

    private static void tagFilter(Scope scope) throws Exception {
        scope.createTopic(2);
        Ledger others = new Ledger("unwanted");
        // "Aa" and "BB" have the same hash in Java: the index lets both through, the client must sort them out.
        String[] tags = {"A", "Aa", "C", "BB", "B", null};
        for (int i = 0; i < 120; i++) {
            String tag = tags[i % tags.length];
            boolean wanted = "A".equals(tag) || "BB".equals(tag);
            Message message = (wanted ? scope.ledger : others).message(scope.topic, tag);
            (wanted ? scope.ledger : others).sent(message, scope.producer().send(message));
        }
        start(scope, "filtered", "A || BB");
        scope.ledger.awaitAll(20);
        // The committed offset passes over what was filtered out.
        Expect.within(20, "committed to the end", () -> scope.environment.committed(scope.group, scope.topic) >= 119);
        scope.ledger.checkExactlyOnce();
        Expect.equal(40, scope.ledger.arrivals().size(), "deliveries");
    }

    private static void twoGroups(Scope scope) throws Exception {
        scope.createTopic(4);
        for (String suffix : List.of("_x", "_y")) {
            DefaultMQPushConsumer consumer = scope.push();
            consumer.setConsumerGroup(scope.group + suffix);
            consumer.subscribe(scope.topic, "*");
            consumer.registerMessageListener(recording(scope.ledger, suffix));
            consumer.start();
        }
        scope.sendSync(80);
        Expect.within(20, "each group received all", () -> scope.ledger.missingAt("_x") == 0 && scope.ledger.missingAt("_y") == 0);
        scope.ledger.checkContents();
        Expect.equal(160, scope.ledger.arrivals().size(), "deliveries");
    }

    private static void listenerBatches(Scope scope) throws Exception {
        scope.createTopic(1);
        scope.sendSync(100);
        DefaultMQPushConsumer consumer = scope.push();
        consumer.setConsumeMessageBatchMaxSize(16);
        consumer.subscribe(scope.topic, "*");
        AtomicBoolean tooMany = new AtomicBoolean();
        AtomicBoolean several = new AtomicBoolean();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            if (messages.size() > 16) {
                tooMany.set(true);
            }
            if (messages.size() > 1) {
                several.set(true);
            }
            messages.forEach(message -> scope.ledger.seen("batch", message));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        scope.ledger.awaitAll(20);
        scope.ledger.checkExactlyOnce();
        Expect.that(several.get() && !tooMany.get(), "batches of up to 16 at the listener");
    }

    /** A pull that waits at the broker is answered when the message comes, not at the next look around. */
    private static void wakesHeldPull(Scope scope) throws Exception {
        scope.createTopic(2);
        DefaultMQPushConsumer consumer = start(scope, "waiting", "*");
        Expect.within(20, "assigned", () -> scope.held(consumer).size() == 2);
        scope.sendSync(2);
        scope.ledger.awaitAll(20);
        long worstMillis = 0;
        for (int i = 0; i < 6; i++) {
            Thread.sleep(700);
            Message message = scope.ledger.message(scope.topic, "T");
            long sent = System.nanoTime();
            scope.ledger.sent(message, scope.producer().send(message));
            scope.ledger.awaitAll(20);
            worstMillis = Math.max(worstMillis, (scope.ledger.receipts(message).get(0).nanos() - sent) / 1_000_000);
        }
        scope.ledger.checkExactlyOnce();
        // Far above what a busy machine costs, far below the 15 s after which an unanswered pull comes back by itself.
        Expect.that(worstMillis < 8_000, "delivered at once, took " + worstMillis + " ms");
    }

    private static void offsetsSurviveRestart(Scope scope) throws Exception {
        scope.createTopic(4);
        DefaultMQPushConsumer before = start(scope, "before", "*");
        scope.sendSync(100);
        scope.ledger.awaitAll(20);
        Thread.sleep(500); // the listener has returned, the client has counted the last ones
        before.shutdown();
        Expect.within(10, "offsets committed on shutdown", () -> scope.environment.committed(scope.group, scope.topic) == 100);
        scope.sendSync(50);
        start(scope, "after", "*");
        scope.ledger.awaitAll(30);
        Thread.sleep(1_000); // time for unwanted repeats
        scope.ledger.checkExactlyOnce();
        Expect.equal(50L, scope.ledger.distinctSeenBy("after"), "messages of the second life");
        List<MessageExt> again = scope.ledger.arrivals().stream().filter(r -> r.who().equals("after"))
            .map(Ledger.Receipt::message).filter(m -> m.getReconsumeTimes() > 0).toList();
        Expect.equal(List.of(), again, "messages consumed again");
    }
}
