package ringmq.clients;

import java.text.SimpleDateFormat;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;

/**
 * Where a new group begins. In clustering mode the broker answers offset 0 for a group without offsets as long as the
 * queue's first message is young, so there even "from last" reads everything; broadcasting keeps its offsets
 * locally and shows the three starting points as they are meant.
 */
final class StartPointCases {
    private StartPointCases() { }

    static Map<String, Main.Case> all() {
        Map<String, Main.Case> cases = new LinkedHashMap<>();
        cases.put("start_first_clustering", scope -> youngTopic(scope, ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET));
        cases.put("start_last_clustering_young_topic", scope -> youngTopic(scope, ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET));
        cases.put("start_timestamp_clustering_young_topic", scope -> youngTopic(scope, ConsumeFromWhere.CONSUME_FROM_TIMESTAMP));
        cases.put("start_first_broadcasting", StartPointCases::firstBroadcasting);
        cases.put("start_last_broadcasting", StartPointCases::lastBroadcasting);
        cases.put("start_timestamp_broadcasting", StartPointCases::timestampBroadcasting);
        return cases;
    }

    private enum Model { CLUSTERING, BROADCASTING }

    private static DefaultMQPushConsumer start(Scope scope, Model model, ConsumeFromWhere where, Date timestamp) throws Exception {
        DefaultMQPushConsumer consumer = scope.push();
        if (model == Model.BROADCASTING) {
            Scope.broadcast(consumer);
        }
        consumer.setConsumeFromWhere(where);
        if (timestamp != null) {
            consumer.setConsumeTimestamp(new SimpleDateFormat("yyyyMMddHHmmss").format(timestamp));
        }
        consumer.subscribe(scope.topic, "*");
        consumer.registerMessageListener(PushCases.recording(scope.ledger, "starting"));
        consumer.start();
        Expect.within(20, "assigned", () -> scope.held(consumer).size() == 4);
        return consumer;
    }

    private static void youngTopic(Scope scope, ConsumeFromWhere where) throws Exception {
        scope.createTopic(4);
        scope.sendSync(60);
        start(scope, Model.CLUSTERING, where, new Date(System.currentTimeMillis() + 60_000));
        scope.ledger.awaitAll(20);
        scope.sendSync(20);
        scope.ledger.awaitAll(20);
        scope.ledger.checkExactlyOnce();
    }

    private static void firstBroadcasting(Scope scope) throws Exception {
        scope.createTopic(4);
        scope.sendSync(60);
        start(scope, Model.BROADCASTING, ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, null);
        scope.ledger.awaitAll(20);
        scope.ledger.checkExactlyOnce();
    }

    private static void lastBroadcasting(Scope scope) throws Exception {
        scope.createTopic(4);
        sendUnwanted(scope);
        start(scope, Model.BROADCASTING, ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET, null);
        scope.sendSync(40);
        scope.ledger.awaitAll(20);
        scope.ledger.checkExactlyOnce(); // an earlier message is unknown to this ledger and fails it
    }

    private static void timestampBroadcasting(Scope scope) throws Exception {
        scope.createTopic(4);
        sendUnwanted(scope);
        Thread.sleep(2_100); // the setting counts whole seconds
        Date between = new Date();
        Thread.sleep(50);
        scope.sendSync(40);
        start(scope, Model.BROADCASTING, ConsumeFromWhere.CONSUME_FROM_TIMESTAMP, between);
        scope.ledger.awaitAll(20);
        scope.ledger.checkExactlyOnce();
    }

    private static void sendUnwanted(Scope scope) throws Exception {
        Ledger unwanted = new Ledger("unwanted");
        for (Message message : unwanted.messages(scope.topic, 60)) {
            unwanted.sent(message, scope.producer().send(message));
        }
    }
}
