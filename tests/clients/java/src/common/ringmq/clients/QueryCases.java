package ringmq.clients;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Messages by key, by unique key, by offset id. */
final class QueryCases {
    /** ResponseCode.NO_MESSAGE, whose class moved between 4.x and 5.x. */
    private static final int NO_MESSAGE = 208;

    private QueryCases() { }

    static Map<String, Main.Case> all() {
        Map<String, Main.Case> cases = new LinkedHashMap<>();
        cases.put("query_by_key", QueryCases::byKey);
        cases.put("query_newest_and_time", QueryCases::newestAndTime);
        cases.put("query_by_id", QueryCases::byId);
        cases.put("query_finds_nothing", QueryCases::nothing);
        return cases;
    }

    /** Sends messages whose bodies are their numbers; waits until all can be found by the key that all have. */
    private static List<SendResult> send(Scope scope, DefaultMQPullConsumer consumer, int count) throws Exception {
        List<SendResult> sent = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            Message message = new Message(scope.topic, "T", "all own" + i + " mod" + i % 3, ("" + i).getBytes());
            sent.add(scope.producer().send(message));
            Thread.sleep(5);
        }
        Expect.within(10, count + " found", () -> query(scope, consumer, "all", 64).size() == count);
        return sent;
    }

    private static List<MessageExt> query(Scope scope, DefaultMQPullConsumer consumer, String key, int max) throws Exception {
        return consumer.queryMessage(scope.topic, key, max, 0, Long.MAX_VALUE).getMessageList();
    }

    private static List<Integer> numbers(List<MessageExt> messages) {
        return messages.stream().map(message -> Integer.parseInt(Ledger.text(message.getBody()))).sorted().toList();
    }

    private static List<Integer> range(int from, int to) {
        return IntStream.range(from, to).boxed().toList();
    }

    private static void byKey(Scope scope) throws Exception {
        scope.createTopic(4);
        DefaultMQPullConsumer consumer = scope.pull(scope.group);
        List<SendResult> sent = send(scope, consumer, 20);
        Expect.equal(range(0, 20), numbers(query(scope, consumer, "all", 64)), "all");
        Expect.equal(List.of(1, 4, 7, 10, 13, 16, 19), numbers(query(scope, consumer, "mod1", 64)), "every third");
        List<MessageExt> one = query(scope, consumer, "own7", 64);
        Expect.equal(List.of(7), numbers(one), "the only one");
        Expect.equal(sent.get(7).getMsgId(), one.get(0).getMsgId(), "its id");
        Expect.equal(sent.get(7).getQueueOffset(), one.get(0).getQueueOffset(), "its offset");
        Expect.equal(sent.get(7).getMessageQueue().getQueueId(), one.get(0).getQueueId(), "its queue");
    }

    private static void newestAndTime(Scope scope) throws Exception {
        scope.createTopic(1);
        DefaultMQPullConsumer consumer = scope.pull(scope.group);
        send(scope, consumer, 10);
        Expect.equal(range(7, 10), numbers(query(scope, consumer, "all", 3)), "the three newest");
        List<MessageExt> all = scope.readAll(scope.topic, 10);
        // The reference's index counts in seconds from the start of its file: bounds that are far outside are exact everywhere.
        long first = all.get(0).getStoreTimestamp();
        long last = all.get(9).getStoreTimestamp();
        Expect.equal(range(0, 10), numbers(consumer.queryMessage(scope.topic, "all", 64, first - 2_000, last + 2_000).getMessageList()), "within");
        Expect.raises(MQClientException.class, "a query before the first", () -> consumer.queryMessage(scope.topic, "all", 64, 0, first - 2_000));
        Expect.raises(MQClientException.class, "a query after the last", () -> consumer.queryMessage(scope.topic, "all", 64, last + 2_000, Long.MAX_VALUE));
    }

    private static void byId(Scope scope) throws Exception {
        scope.createTopic(4);
        DefaultMQPullConsumer consumer = scope.pull(scope.group);
        List<SendResult> sent = send(scope, consumer, 8);
        for (int i = 0; i < 8; i++) {
            MessageExt byUniqueKey = consumer.viewMessage(scope.topic, sent.get(i).getMsgId());
            MessageExt byOffsetId = consumer.viewMessage(scope.topic, sent.get(i).getOffsetMsgId());
            for (MessageExt found : List.of(byUniqueKey, byOffsetId)) {
                Expect.equal("" + i, Ledger.text(found.getBody()), "body");
                Expect.equal(sent.get(i).getMsgId(), found.getMsgId(), "id");
                Expect.equal(sent.get(i).getQueueOffset(), found.getQueueOffset(), "offset");
                Expect.equal(sent.get(i).getMessageQueue().getQueueId(), found.getQueueId(), "queue");
            }
        }
    }

    private static void nothing(Scope scope) throws Exception {
        scope.createTopic(2);
        DefaultMQPullConsumer consumer = scope.pull(scope.group);
        send(scope, consumer, 3);
        MQClientException none = Expect.raises(MQClientException.class, "a key that no message has", () -> query(scope, consumer, "own", 64));
        Expect.equal(NO_MESSAGE, none.getResponseCode(), "code");
        Expect.raises(MQClientException.class, "a key in other case", () -> query(scope, consumer, "ALL", 64));
    }
}
