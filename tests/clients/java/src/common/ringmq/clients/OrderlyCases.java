package ringmq.clients;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Orderly consuming: one at a time per queue, in order, whoever holds the queue. */
final class OrderlyCases {
    private OrderlyCases() { }

    static Map<String, Main.Case> all() {
        Map<String, Main.Case> cases = new LinkedHashMap<>();
        cases.put("orderly_shared_and_taken_over", OrderlyCases::sharedAndTakenOver);
        cases.put("orderly_single_queue", OrderlyCases::singleQueue);
        cases.put("orderly_suspend_and_retry", OrderlyCases::suspendAndRetry);
        cases.put("orderly_gives_up_to_dlq", OrderlyCases::givesUp);
        return cases;
    }

    /** Notes a violation when two threads are inside the same queue at once. */
    private static final class Guard {
        final Map<Integer, AtomicInteger> inside = new ConcurrentHashMap<>();
        final AtomicReference<String> violation = new AtomicReference<>();

        void enter(int queue) {
            if (inside.computeIfAbsent(queue, k -> new AtomicInteger()).incrementAndGet() != 1) {
                violation.set("two listeners inside queue " + queue);
            }
        }

        void leave(int queue) {
            inside.get(queue).decrementAndGet();
        }
    }

    private static DefaultMQPushConsumer start(Scope scope, String who, Guard guard) throws Exception {
        DefaultMQPushConsumer consumer = scope.push();
        consumer.subscribe(scope.topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            int queue = context.getMessageQueue().getQueueId();
            guard.enter(queue);
            try {
                Thread.sleep(1); // a chance for others to interleave
                messages.forEach(message -> scope.ledger.seen(who, message));
            } catch (InterruptedException e) {
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            } finally {
                guard.leave(queue);
            }
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    /** Sends steps of many orders; each order keeps to its queue. */
    private static void sendOrders(Scope scope, int orders, int steps) throws Exception {
        for (int step = 0; step < steps; step++) {
            for (int order = 0; order < orders; order++) {
                Message message = scope.ledger.message(scope.topic, "T");
                message.putUserProperty("order", "" + order);
                scope.ledger.sent(message, scope.producer().send(message, (queues, m, key) -> queues.get((Integer) key % queues.size()), order));
            }
        }
    }

    /**
     * First deliveries of each queue come in offset order without a gap. With {@code handOver} a stretch may come again
     * (its offset had not been committed), but never something new out of its turn.
     */
    private static void checkOrder(Scope scope, Guard guard, boolean handOver) {
        Expect.equal(null, guard.violation.get(), "interleaving");
        Map<Integer, Long> next = new LinkedHashMap<>();
        for (Ledger.Receipt receipt : scope.ledger.arrivals()) {
            MessageExt message = receipt.message();
            long due = next.getOrDefault(message.getQueueId(), 0L);
            Expect.that(message.getQueueOffset() == due || handOver && message.getQueueOffset() < due,
                "queue " + message.getQueueId() + ": offset " + message.getQueueOffset() + " delivered when " + due + " was due");
            next.put(message.getQueueId(), Math.max(due, message.getQueueOffset() + 1));
        }
        scope.ledger.checkContents();
    }

    private static void sharedAndTakenOver(Scope scope) throws Exception {
        scope.createTopic(4);
        Guard guard = new Guard();
        DefaultMQPushConsumer first = start(scope, "first", guard);
        DefaultMQPushConsumer second = start(scope, "second", guard);
        PushCases.awaitShared(scope, 4, first, second);
        sendOrders(scope, 20, 10);
        scope.ledger.awaitAll(40);
        Expect.equal(100L, scope.ledger.distinctSeenBy("first"), "share of the first");
        Expect.equal(100L, scope.ledger.distinctSeenBy("second"), "share of the second");
        checkOrder(scope, guard, false);
        second.shutdown();
        sendOrders(scope, 20, 10);
        scope.ledger.awaitAll(40);
        checkOrder(scope, guard, true);
    }

    private static void singleQueue(Scope scope) throws Exception {
        scope.createTopic(1);
        scope.sendSync(200);
        Guard guard = new Guard();
        start(scope, "only", guard);
        scope.ledger.awaitAll(30);
        checkOrder(scope, guard, false);
        List<String> bodies = scope.ledger.arrivals().stream().map(r -> Ledger.text(r.message().getBody())).toList();
        List<String> sent = new ArrayList<>();
        for (int i = 0; i < 200; i++) {
            sent.add(scope.name + "#" + i);
        }
        Expect.equal(sent, bodies, "global order");
    }

    /** The queue waits behind the message that is not ready; other queues go on. */
    private static void suspendAndRetry(Scope scope) throws Exception {
        scope.createTopic(2);
        List<Message> messages = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            Message message = scope.ledger.message(scope.topic, "T");
            scope.ledger.sent(message, scope.producer().send(message, (queues, m, key) -> queues.get((Integer) key % 2), i));
            messages.add(message);
        }
        String stubborn = Ledger.text(messages.get(10).getBody()); // queue 0, offset 5
        List<Integer> attempts = new ArrayList<>();
        DefaultMQPushConsumer consumer = scope.push();
        consumer.setSuspendCurrentQueueTimeMillis(300);
        consumer.subscribe(scope.topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (batch, context) -> {
            MessageExt message = batch.get(0);
            if (Ledger.text(message.getBody()).equals(stubborn)) {
                synchronized (attempts) {
                    attempts.add(message.getReconsumeTimes());
                    if (attempts.size() < 4) {
                        return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
                    }
                }
            }
            scope.ledger.seen("orderly", message);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        scope.ledger.awaitAll(30);
        checkOrder(scope, new Guard(), false);
        Expect.equal(40, scope.ledger.arrivals().size(), "deliveries");
        Expect.equal(List.of(0, 1, 2, 3), attempts, "reconsume times of the suspended message");
    }

    /** Past its limit an orderly message goes to the dead-letter queue and the queue goes on. */
    private static void givesUp(Scope scope) throws Exception {
        scope.createTopic(1);
        List<Message> messages = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            Message message = scope.ledger.message(scope.topic, "T");
            scope.ledger.sent(message, scope.producer().send(message));
            messages.add(message);
        }
        String poison = Ledger.text(messages.get(4).getBody());
        AtomicInteger attempts = new AtomicInteger();
        DefaultMQPushConsumer consumer = scope.push();
        consumer.setSuspendCurrentQueueTimeMillis(200);
        consumer.setMaxReconsumeTimes(2);
        consumer.subscribe(scope.topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (batch, context) -> {
            MessageExt message = batch.get(0);
            if (Ledger.text(message.getBody()).equals(poison)) {
                attempts.incrementAndGet();
                return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
            }
            scope.ledger.seen("orderly", message);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        Expect.within(30, "the other nine", () -> scope.ledger.missing() == 1);
        Expect.equal(3, attempts.get(), "attempts");
        List<MessageExt> dead = RetryCases.awaitDeadLetters(scope, 1);
        Expect.equal(poison, Ledger.text(dead.get(0).getBody()), "body in the dead-letter queue");
        Expect.equal(messages.get(4).getKeys(), dead.get(0).getKeys(), "keys in the dead-letter queue");
        Expect.equal(scope.topic, dead.get(0).getProperty("RETRY_TOPIC"), "original topic in the dead-letter queue");
    }
}
