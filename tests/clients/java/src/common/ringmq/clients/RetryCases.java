package ringmq.clients;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Set;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** What happens to a message whose listener fails, and delayed delivery, on which that rests. */
final class RetryCases {
    private RetryCases() { }

    static Map<String, Main.Case> all() {
        Map<String, Main.Case> cases = new LinkedHashMap<>();
        cases.put("retry_default_delay_then_dlq", RetryCases::defaultDelayThenDeadLetter);
        cases.put("retry_times_rise", RetryCases::timesRise);
        cases.put("retry_throwing_listener", RetryCases::throwingListener);
        cases.put("retry_straight_to_dlq", RetryCases::straightToDeadLetter);
        cases.put("retry_taken_over_by_other_consumer", RetryCases::takenOver);
        cases.put("delay_levels", RetryCases::delayLevels);
        return cases;
    }

    /** Waits until the group's dead-letter queue holds so many, read by pull. */
    static List<MessageExt> awaitDeadLetters(Scope scope, int count) throws Exception {
        String topic = "%DLQ%" + scope.group;
        Expect.within(30, count + " in " + topic, () -> scope.readAll(topic).size() >= count);
        List<MessageExt> dead = scope.readAll(topic);
        Expect.equal(count, dead.size(), "messages in " + topic);
        return dead;
    }

    private interface Decision {
        ConsumeConcurrentlyStatus decide(MessageExt message, org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext context);
    }

    private static DefaultMQPushConsumer start(Scope scope, String who, int maxReconsumeTimes, Decision decision) throws Exception {
        DefaultMQPushConsumer consumer = scope.push();
        consumer.setMaxReconsumeTimes(maxReconsumeTimes);
        consumer.subscribe(scope.topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            scope.ledger.seen(who, messages.get(0));
            return decision.decide(messages.get(0), context);
        });
        consumer.start();
        return consumer;
    }

    private static List<Integer> times(Scope scope, Message message) {
        return scope.ledger.receipts(message).stream().map(r -> r.message().getReconsumeTimes()).toList();
    }

    private static boolean is(Message message, MessageExt got) {
        return Ledger.text(message.getBody()).equals(Ledger.text(got.getBody()));
    }

    private static void defaultDelayThenDeadLetter(Scope scope) throws Exception {
        scope.createTopic(2);
        scope.introduceGroup();
        List<Message> messages = scope.ledger.messages(scope.topic, 10);
        Message poison = messages.get(3);
        poison.putUserProperty("colour", "red");
        for (Message message : messages) {
            scope.ledger.sent(message, scope.producer().send(message));
        }
        start(scope, "failing", 1, (message, context) ->
            is(poison, message) ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        scope.ledger.awaitAll(20);
        Expect.within(30, "a second delivery", () -> scope.ledger.receipts(poison).size() == 2);
        List<Ledger.Receipt> deliveries = scope.ledger.receipts(poison);
        long millis = (deliveries.get(1).nanos() - deliveries.get(0).nanos()) / 1_000_000;
        Expect.that(millis >= 9_900 && millis < 16_000, "the second delivery after 10 s, was " + millis + " ms");

        MessageExt dead = awaitDeadLetters(scope, 1).get(0);
        Expect.equal(List.of(0, 1), times(scope, poison), "reconsume times");
        scope.ledger.checkContents(); // topic, msgId, keys and tags of both deliveries
        Expect.equal(11, scope.ledger.arrivals().size(), "deliveries in all: the other nine once");
        Expect.equal(Ledger.text(poison.getBody()), Ledger.text(dead.getBody()), "body in the dead-letter queue");
        Expect.equal(scope.ledger.answer(poison).getMsgId(), dead.getMsgId(), "msgId in the dead-letter queue");
        Expect.equal(poison.getKeys(), dead.getKeys(), "keys in the dead-letter queue");
        Expect.equal(poison.getTags(), dead.getTags(), "tags in the dead-letter queue");
        Expect.equal("red", dead.getUserProperty("colour"), "user property in the dead-letter queue");
        Expect.equal(scope.topic, dead.getProperty("RETRY_TOPIC"), "original topic");
        Expect.equal(scope.ledger.answer(poison).getOffsetMsgId(), dead.getProperty("ORIGIN_MESSAGE_ID"), "original offset message id");
        Expect.equal(2, dead.getReconsumeTimes(), "reconsume times in the dead-letter queue");
        Expect.equal(deliveries.get(0).message().getBornTimestamp(), dead.getBornTimestamp(), "born timestamp is kept");
    }

    private static void timesRise(Scope scope) throws Exception {
        scope.createTopic(1);
        scope.introduceGroup();
        scope.sendSync(1);
        Message message = scope.ledger.message(scope.topic, "T");
        scope.ledger.sent(message, scope.producer().send(message));
        start(scope, "failing", 16, (got, context) -> {
            context.setDelayLevelWhenNextConsume(1); // 1 s instead of 10 s, 30 s, 1 m
            return is(message, got) && got.getReconsumeTimes() < 3 ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        Expect.within(30, "four deliveries", () -> scope.ledger.receipts(message).size() == 4);
        Thread.sleep(1_500); // time for one too many
        Expect.equal(List.of(0, 1, 2, 3), times(scope, message), "reconsume times");
        scope.ledger.checkContents();
        List<Ledger.Receipt> deliveries = scope.ledger.receipts(message);
        for (int i = 1; i < 4; i++) {
            long millis = (deliveries.get(i).nanos() - deliveries.get(i - 1).nanos()) / 1_000_000;
            Expect.that(millis >= 950, "delivery " + i + " not before 1 s, was " + millis + " ms");
            Expect.equal(scope.ledger.answer(message).getOffsetMsgId(), deliveries.get(i).message().getProperty("ORIGIN_MESSAGE_ID"), "original offset message id");
        }
    }

    private static void throwingListener(Scope scope) throws Exception {
        scope.createTopic(1);
        Message message = scope.ledger.message(scope.topic, "T");
        scope.ledger.sent(message, scope.producer().send(message));
        start(scope, "throwing", 16, (got, context) -> {
            context.setDelayLevelWhenNextConsume(1);
            if (got.getReconsumeTimes() == 0) {
                throw new IllegalStateException("the listener of this test fails once");
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        // The retry topic of this new group is taken up by a later rebalance of the client.
        Expect.within(45, "a second delivery", () -> scope.ledger.receipts(message).size() == 2);
        Expect.equal(List.of(0, 1), times(scope, message), "reconsume times");
        scope.ledger.checkContents();
    }

    /** A negative delay level asks for the dead-letter queue at once. */
    private static void straightToDeadLetter(Scope scope) throws Exception {
        scope.createTopic(1);
        Message message = scope.ledger.message(scope.topic, "T");
        scope.ledger.sent(message, scope.producer().send(message));
        start(scope, "failing", 16, (got, context) -> {
            context.setDelayLevelWhenNextConsume(-1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        String topic = "%DLQ%" + scope.group;
        Expect.within(30, "a dead letter", () -> !scope.readAll(topic).isEmpty());
        Thread.sleep(500); // a second one would be there by now
        String deliveries = scope.ledger.receipts(message).stream()
            .map(r -> r.nanos() / 1_000_000 + " ms by " + r.who() + ": " + r.message()).toList().toString();
        Expect.equal(1, scope.readAll(topic).size(), "dead letters " + scope.readAll(topic) + " of the deliveries " + deliveries);
        for (MessageExt dead : scope.readAll(topic)) {
            Expect.equal(scope.ledger.answer(message).getMsgId(), dead.getMsgId(), "msgId in the dead-letter queue");
        }
        Expect.equal(Set.of(0), Set.copyOf(times(scope, message)), "reconsume times");
    }

    /** A message that waits for its retry belongs to the group, not to the consumer that failed. */
    private static void takenOver(Scope scope) throws Exception {
        scope.createTopic(1);
        scope.introduceGroup();
        Message message = scope.ledger.message(scope.topic, "T");
        scope.ledger.sent(message, scope.producer().send(message));
        DefaultMQPushConsumer failing = start(scope, "failing", 16, (got, context) -> {
            context.setDelayLevelWhenNextConsume(2); // 5 s
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        scope.ledger.awaitAll(20);
        Thread.sleep(1_000); // the send-back is through and its offset committed by the shutdown
        failing.shutdown();
        start(scope, "helping", 16, (got, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        Expect.within(30, "the retry reached the other consumer", () -> scope.ledger.seenBy(Ledger.text(message.getBody()), "helping") == 1);
        Expect.equal(List.of(0, 1), times(scope, message), "reconsume times");
        scope.ledger.checkContents();
    }

    private static void delayLevels(Scope scope) throws Exception {
        scope.createTopic(2);
        List<Long> sentAt = new ArrayList<>();
        List<Message> messages = new ArrayList<>();
        List<Integer> delays = new CopyOnWriteArrayList<>(List.of(0, 1, 5, 10));
        DefaultMQPushConsumer consumer = PushCases.start(scope, "delayed", "*");
        Expect.within(20, "assigned", () -> scope.held(consumer).size() == 2);
        for (int level = 0; level <= 3; level++) {
            Message message = scope.ledger.message(scope.topic, "T");
            message.setDelayTimeLevel(level);
            messages.add(message);
            sentAt.add(System.nanoTime());
            Expect.that(scope.producer().send(message).getMsgId() != null, "answer with a message id");
        }
        scope.ledger.awaitAll(30);
        for (int level = 0; level <= 3; level++) {
            List<Ledger.Receipt> receipts = scope.ledger.receipts(messages.get(level));
            Expect.equal(1, receipts.size(), "deliveries at level " + level);
            long millis = (receipts.get(0).nanos() - sentAt.get(level)) / 1_000_000;
            long due = delays.get(level) * 1000L;
            // The reference truncates the deliver time to whole steps, hence the slack below.
            Expect.that(millis >= due - 100 && millis < due + 4_000, "level " + level + " due after " + due + " ms, came after " + millis + " ms");
        }
        scope.ledger.checkContents();
    }
}
