package ringmq.clients;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageRequestMode;

/** Push consumers that pop: the broker shares out the queues, and every member pops from all of them. */
final class PopCases {
    private PopCases() { }

    static Map<String, Main.Case> all() {
        Map<String, Main.Case> cases = new LinkedHashMap<>();
        cases.put("pop_failing_listener_then_retry", PopCases::failingListener);
        cases.put("pop_members_share_all_queues", PopCases::membersShare);
        cases.put("pop_tags", PopCases::tags);
        cases.put("pop_member_leaves_with_messages", PopCases::memberLeaves);
        return cases;
    }

    /** A group that pops the case's topic. */
    private static void prepare(Scope scope, int queues) throws Exception {
        scope.createTopic(queues);
        scope.introduceGroup();
        String broker = scope.environment.admin.examineTopicRouteInfo(scope.topic).getBrokerDatas().get(0).selectBrokerAddr();
        scope.environment.admin.setMessageRequestMode(broker, scope.topic, scope.group, MessageRequestMode.POP, -1, 3_000);
    }

    private static DefaultMQPushConsumer start(Scope scope, String who, String tags, MessageListenerConcurrently listener) throws Exception {
        DefaultMQPushConsumer consumer = scope.push();
        consumer.setClientRebalance(false);
        consumer.setPopInvisibleTime(10_000);
        consumer.subscribe(scope.topic, tags);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> scope.ledger.seen(who, message));
            return listener.consumeMessage(messages, context);
        });
        consumer.start();
        return consumer;
    }

    private static void awaitPopping(Scope scope, DefaultMQPushConsumer consumer) throws Exception {
        Expect.within(20, "assigned for popping", () ->
            consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getPopProcessQueueTable().keySet().stream()
                .anyMatch(queue -> queue.getTopic().equals(scope.topic)));
    }

    private static void membersShare(Scope scope) throws Exception {
        prepare(scope, 8);
        List<DefaultMQPushConsumer> members = new ArrayList<>();
        for (String who : List.of("a", "b", "c")) {
            members.add(start(scope, who, "*", (messages, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS));
        }
        for (DefaultMQPushConsumer member : members) {
            awaitPopping(scope, member);
        }
        scope.sendSync(300);
        scope.ledger.awaitAll(40);
        Thread.sleep(12_000); // longer than the invisible time: whatever was not acknowledged would come again
        scope.ledger.checkExactlyOnce();
    }

    private static void failingListener(Scope scope) throws Exception {
        prepare(scope, 2);
        DefaultMQPushConsumer consumer = start(scope, "failing", "*", (messages, context) -> {
            boolean isSecond = messages.stream().allMatch(message -> message.getReconsumeTimes() > 0);
            return isSecond ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS : ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        awaitPopping(scope, consumer);
        scope.sendSync(5);
        for (Message message : scope.ledger.messages(scope.topic, 1)) {
            scope.ledger.sent(message, scope.producer().send(message));
            // The client makes the message visible again after its own delay for the first failure: 10 s.
            Expect.within(60, "a second delivery", () -> scope.ledger.receipts(message).size() == 2);
            List<Integer> times = scope.ledger.receipts(message).stream().map(r -> r.message().getReconsumeTimes()).toList();
            Expect.equal(List.of(0, 1), times, "reconsume times");
            String first = scope.ledger.receipts(message).get(1).message().getProperty("1ST_POP_TIME");
            Expect.that(first != null, "the time of the first pop");
        }
        Expect.within(20, "second deliveries of all", () -> scope.ledger.duplicates() == 6);
        scope.ledger.checkContents();
    }

    private static void tags(Scope scope) throws Exception {
        prepare(scope, 4);
        DefaultMQPushConsumer consumer = start(scope, "choosy", "T || U", (messages, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        awaitPopping(scope, consumer);
        for (int i = 0; i < 40; i++) {
            scope.producer().send(new Message(scope.topic, "other", ("unwanted " + i).getBytes()));
        }
        scope.sendSync(20);
        scope.ledger.awaitAll(30);
        scope.ledger.checkExactlyOnce();
    }

    /** A consumer that ends without acknowledging: the others get its messages when their time is over. */
    private static void memberLeaves(Scope scope) throws Exception {
        prepare(scope, 4);
        DefaultMQPushConsumer stuck = start(scope, "stuck", "*", (messages, context) -> {
            try {
                Thread.sleep(60_000);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        awaitPopping(scope, stuck);
        scope.sendSync(8);
        Expect.within(20, "something was popped", () -> scope.ledger.distinctSeenBy("stuck") > 0);
        stuck.shutdown();
        start(scope, "helping", "*", (messages, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        Expect.within(45, "everything reached the other consumer", () -> scope.ledger.missingAt("helping") == 0);
        scope.ledger.checkContents();
    }
}
