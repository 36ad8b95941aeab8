package ringmq.clients;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.common.message.Message;

/** Push consumers with SQL92 expressions on properties. The cluster needs {@code enablePropertyFilter=true}. */
final class SqlFilterCases {
    /** What {@link #send} makes a third of its messages match. */
    static final String WANTED = "n BETWEEN 0 AND 999 AND colour IN ('red', 'it''s') OR size IS NULL AND NOT (n < 1000)";
    private static final String[] COLOURS = {"red", "green", "it's", "blue", "yellow", "grey"};

    private SqlFilterCases() { }

    static Map<String, Main.Case> all() {
        Map<String, Main.Case> cases = new LinkedHashMap<>();
        cases.put("sql_push_filter", SqlFilterCases::pushFilter);
        cases.put("sql_push_changed", SqlFilterCases::changed);
        cases.put("sql_push_retry", SqlFilterCases::retry);
        cases.put("sql_push_refused", SqlFilterCases::refused);
        return cases;
    }

    /** Numbered messages; those that {@link #WANTED} lets through go into the case's ledger, the others into a ledger of their own. */
    static void send(Scope scope, Ledger others, int from, int count) throws Exception {
        for (int i = from; i < from + count; i++) {
            String colour = COLOURS[i % COLOURS.length];
            boolean wanted = colour.equals("red") || colour.equals("it's");
            Ledger ledger = wanted ? scope.ledger : others;
            Message message = ledger.message(scope.topic, i % 2 == 0 ? "T" : null);
            message.putUserProperty("n", Integer.toString(i));
            message.putUserProperty("size", "XL");
            message.putUserProperty("colour", colour);
            ledger.sent(message, scope.producer().send(message));
        }
    }

    private static DefaultMQPushConsumer start(Scope scope, String who, String expression) throws Exception {
        DefaultMQPushConsumer consumer = scope.push();
        consumer.subscribe(scope.topic, MessageSelector.bySql(expression));
        consumer.registerMessageListener(PushCases.recording(scope.ledger, who));
        consumer.start();
        return consumer;
    }

    /** A backlog first, then messages that meet held pulls. */
    private static void pushFilter(Scope scope) throws Exception {
        scope.createTopic(2);
        Ledger others = new Ledger("unwanted");
        send(scope, others, 0, 120);
        start(scope, "filtered", WANTED);
        scope.ledger.awaitAll(20);
        // The committed offset passes over what was filtered out.
        Expect.within(20, "committed to the end", () -> scope.environment.committed(scope.group, scope.topic) >= 118);
        send(scope, others, 120, 60);
        scope.ledger.awaitAll(20);
        Thread.sleep(500); // time for what must not come
        scope.ledger.checkExactlyOnce();
        Expect.equal(60, scope.ledger.arrivals().size(), "deliveries");
    }

    /** A second life of the group with another expression: it, not the first one, decides from then on. */
    private static void changed(Scope scope) throws Exception {
        scope.createTopic(1);
        DefaultMQPushConsumer before = start(scope, "before", "n = 1");
        Ledger others = new Ledger("unwanted");
        for (Ledger ledger : List.of(others, scope.ledger)) {
            Message message = ledger.message(scope.topic, null);
            message.putUserProperty("n", ledger == others ? "2" : "1");
            ledger.sent(message, scope.producer().send(message));
        }
        scope.ledger.awaitAll(20);
        // The second life would want what the first one passed over.
        Expect.within(20, "committed to the end", () -> scope.environment.committed(scope.group, scope.topic) == 2);
        before.shutdown();
        start(scope, "after", "n = 2 AND NOT (n = 'x')");
        for (Ledger ledger : List.of(others, scope.ledger)) {
            Message message = ledger.message(scope.topic, null);
            message.putUserProperty("n", ledger == others ? "1" : "2");
            ledger.sent(message, scope.producer().send(message));
        }
        scope.ledger.awaitAll(20);
        scope.ledger.checkExactlyOnce();
        Expect.equal(1L, scope.ledger.distinctSeenBy("after"), "messages of the second life");
    }

    /** What is sent back comes again whatever the expression says of it: retry topics are not filtered. */
    private static void retry(Scope scope) throws Exception {
        scope.createTopic(1);
        scope.introduceGroup();
        DefaultMQPushConsumer consumer = scope.push();
        consumer.subscribe(scope.topic, MessageSelector.bySql("n > 5"));
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            context.setDelayLevelWhenNextConsume(1);
            messages.forEach(message -> scope.ledger.seen(Integer.toString(message.getReconsumeTimes()), message));
            return messages.get(0).getReconsumeTimes() == 0
                ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Message message = scope.ledger.message(scope.topic, "T");
        message.putUserProperty("n", "6");
        scope.ledger.sent(message, scope.producer().send(message));
        Expect.within(30, "the message twice", () -> scope.ledger.arrivals().size() == 2);
        Expect.equal(1L, scope.ledger.distinctSeenBy("1"), "the second time as a retry");
    }

    /** The broker is asked when the consumer starts, and says what it thinks of the expression. */
    private static void refused(Scope scope) throws Exception {
        scope.createTopic(1);
        for (String expression : List.of("n >", "n = 'x", "n > 'x'", "n BETWEEN 2 AND 1")) {
            DefaultMQPushConsumer consumer = scope.push();
            consumer.subscribe(scope.topic, MessageSelector.bySql(expression));
            consumer.registerMessageListener(PushCases.recording(scope.ledger, "never"));
            MQClientException error = Expect.raises(MQClientException.class, "start with " + expression, consumer::start);
            Expect.equal(23, error.getResponseCode(), "code for " + expression);
        }
    }
}
