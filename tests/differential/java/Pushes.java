import java.util.Map;
import java.util.concurrent.ConcurrentSkipListMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Where push consumers begin, and what they get. */
final class Pushes {
    private Pushes() { }

    static void run() throws Exception {
        String topic = "JavaPush" + Script.run;
        Script.createTopic(topic, 2);
        for (int i = 0; i < 6; i++) {
            Script.send(topic, i % 2, "before " + i, i % 3 == 0 ? "A" : "B");
        }
        from(topic, "first", ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, "*", false);
        from(topic, "last", ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET, "*", false);
        from(topic, "time", ConsumeFromWhere.CONSUME_FROM_TIMESTAMP, "*", false);
        from(topic, "tag", ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, "A", false);
        from(topic, "broadcast", ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, "*", true);
    }

    private static void from(String topic, String name, ConsumeFromWhere where, String expression, boolean broadcast) throws Exception {
        String group = "JavaPush" + Script.run + "-" + name;
        Map<String, String> got = new ConcurrentSkipListMap<>();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(Script.namesrv);
        consumer.setInstanceName(group);
        // A client that rebalances during its first heartbeat skips the second one, and is told to heartbeat again until the next.
        consumer.setHeartbeatBrokerInterval(1_000);
        consumer.setPollNameServerInterval(1_000);
        consumer.setConsumeFromWhere(where);
        consumer.setConsumeThreadMin(1);
        consumer.setConsumeThreadMax(1);
        if (broadcast) {
            consumer.setMessageModel(Enum.valueOf(consumer.getMessageModel().getDeclaringClass(), "BROADCASTING"));
        }
        consumer.subscribe(topic, expression);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                got.put(Script.body(message), Script.text(message));
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        String marker = "marker for " + name;
        Script.send(topic, 0, marker + " 0", "A");
        Script.send(topic, 1, marker + " 1", "A");
        Script.await(() -> got.containsKey(marker + " 0") && got.containsKey(marker + " 1"));
        Script.print("push " + name, got.values());
        if (!broadcast) {
            // What is consumed may still be noted as being consumed.
            Script.await(() -> {
                consumer.getDefaultMQPushConsumerImpl().persistConsumerOffset();
                return committed(group, topic, 0) == ends(topic, 0) && committed(group, topic, 1) == ends(topic, 1);
            });
            Script.print("push " + name + ": committed", committed(group, topic, 0) + " " + committed(group, topic, 1));
        }
        consumer.shutdown();
        Script.step("push " + name + ": nobody is left", () -> Script.admin.examineConsumerConnectionInfo(group).getConnectionSet().size());
    }

    private static long committed(String group, String topic, int queue) throws Exception {
        return Script.admin.examineConsumeStats(group, topic).getOffsetTable().get(new MessageQueue(topic, "broker-a", queue)).getConsumerOffset();
    }

    private static long ends(String topic, int queue) throws Exception {
        return Script.admin.maxOffset(new MessageQueue(topic, "broker-a", queue));
    }
}
