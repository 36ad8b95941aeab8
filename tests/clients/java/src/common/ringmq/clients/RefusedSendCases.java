package ringmq.clients;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;

/** Sends that must fail, with the exception and code that applications branch on. */
final class RefusedSendCases {
    private static final int MESSAGE_ILLEGAL = 13;

    private RefusedSendCases() { }

    static Map<String, Main.Case> all() {
        Map<String, Main.Case> cases = new LinkedHashMap<>();
        cases.put("refused_illegal_topic", RefusedSendCases::illegalTopic);
        cases.put("refused_by_client_size", RefusedSendCases::tooLargeForClient);
        cases.put("refused_by_broker_size", RefusedSendCases::tooLargeForBroker);
        cases.put("refused_properties_size", RefusedSendCases::tooManyProperties);
        cases.put("refused_unknown_topic_route", RefusedSendCases::unknownTopicRoute);
        return cases;
    }

    private static void illegalTopic(Scope scope) {
        for (String topic : new String[] {"bad topic", "bad/topic", "bad*", "t".repeat(256)}) {
            Expect.raises(MQClientException.class, "send to " + topic,
                () -> scope.producer().send(new Message(topic, "T", Ledger.bytes("x"))));
        }
    }

    private static void tooLargeForClient(Scope scope) throws Exception {
        scope.createTopic(1);
        MQClientException refusal = Expect.raises(MQClientException.class, "5 MiB with the client's limit",
            () -> scope.producer().send(new Message(scope.topic, "T", noise(5 << 20))));
        Expect.equal(MESSAGE_ILLEGAL, refusal.getResponseCode(), "code");
        Expect.equal(0, scope.readAll(scope.topic).size(), "messages stored");
    }

    private static void tooLargeForBroker(Scope scope) throws Exception {
        scope.createTopic(1);
        DefaultMQProducer producer = scope.newProducer();
        producer.setMaxMessageSize(8 << 20);
        producer.start();
        MQBrokerException refusal = Expect.raises(MQBrokerException.class, "5 MiB past the client's limit",
            () -> producer.send(new Message(scope.topic, "T", noise(5 << 20)), 10_000));
        Expect.equal(MESSAGE_ILLEGAL, refusal.getResponseCode(), "code");
        Message small = scope.ledger.message(scope.topic, "T");
        scope.ledger.sent(small, producer.send(small));
        scope.readBackExactlyOnce();
    }

    private static void tooManyProperties(Scope scope) throws Exception {
        scope.createTopic(1);
        Message message = new Message(scope.topic, "T", Ledger.bytes("x"));
        for (int i = 0; i < 40; i++) {
            message.putUserProperty("property" + i, "v".repeat(1000));
        }
        MQBrokerException refusal = Expect.raises(MQBrokerException.class, "40 KB of properties", () -> scope.producer().send(message));
        Expect.equal(MESSAGE_ILLEGAL, refusal.getResponseCode(), "code");
        Expect.equal(0, scope.readAll(scope.topic).size(), "messages stored");
    }

    private static void unknownTopicRoute(Scope scope) throws Exception {
        var consumer = scope.pull(scope.group);
        Expect.raises(MQClientException.class, "queues of a topic that does not exist",
            () -> consumer.fetchSubscribeMessageQueues(scope.topic));
    }

    private static byte[] noise(int bytes) {
        byte[] body = new byte[bytes];
        new Random(11).nextBytes(body);
        return body;
    }
}
