import java.util.ArrayList;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** The lite pull consumer: assigned queues, seeking, commits. */
final class Lite {
    private Lite() { }

    static void run() throws Exception {
        String topic = "JavaLite" + Script.run;
        Script.createTopic(topic, 2);
        for (int i = 0; i < 8; i++) {
            Script.send(topic, i % 2, "m" + i, i < 4 ? "A" : "B");
        }
        MessageQueue queue = new MessageQueue(topic, "broker-a", 0);
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer("JavaLiteGroup" + Script.run);
        consumer.setNamesrvAddr(Script.namesrv);
        consumer.setInstanceName(topic);
        consumer.setAutoCommit(false);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.start();
        consumer.assign(List.of(queue));
        Script.print("lite: all of the queue", read(consumer, 4));
        Script.step("lite: committed before", () -> consumer.committed(queue));
        consumer.seek(queue, 2);
        Script.print("lite: from 2", read(consumer, 2));
        consumer.commitSync();
        Script.step("lite: committed after", () -> consumer.committed(queue));
        consumer.seekToBegin(queue);
        Script.print("lite: from the beginning", read(consumer, 4));
        Script.step("lite: seek behind the end", () -> {
            consumer.seek(queue, 99);
            return "done";
        });
        Script.step("lite: offset for a time", () -> consumer.offsetForTimestamp(queue, 0L));
        consumer.shutdown();
    }

    private static List<String> read(DefaultLitePullConsumer consumer, int count) throws Exception {
        List<String> got = new ArrayList<>();
        long end = System.nanoTime() + 20_000_000_000L;
        while (got.size() < count && System.nanoTime() < end) {
            for (MessageExt message : consumer.poll(500)) {
                got.add(Script.text(message));
            }
        }
        return got;
    }
}
