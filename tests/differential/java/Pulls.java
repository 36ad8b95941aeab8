import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** What a pull consumer sees. */
final class Pulls {
    private Pulls() { }

    static void run() throws Exception {
        String topic = "JavaPull" + Script.run;
        String group = "JavaPullGroup" + Script.run;
        Script.createTopic(topic, 2);
        MessageQueue queue = new MessageQueue(topic, "broker-a", 0);
        MessageQueue empty = new MessageQueue(topic, "broker-a", 1);
        String[] tags = {"A", "B", null, "A", "C"};
        for (int i = 0; i < tags.length; i++) {
            Script.send(topic, 0, "m" + i, tags[i]);
            Thread.sleep(20);
        }
        DefaultMQPullConsumer consumer = Script.puller(group);
        for (String expression : new String[] {"*", "A", "A || C", "none", null}) {
            for (long offset : new long[] {0, 1, 4, 5, 6, 100}) {
                Script.step("pull " + expression + " at " + offset, () -> Script.text(consumer.pull(queue, expression, offset, 32)));
            }
        }
        for (long offset : new long[] {0, 1, 7}) {
            Script.step("pull of an empty queue at " + offset, () -> Script.text(consumer.pull(empty, "*", offset, 32)));
        }
        for (int count : new int[] {1, 2, 5}) {
            Script.step("pull of " + count, () -> Script.text(consumer.pull(queue, "*", 0, count)));
        }
        Script.step("pull and wait at the end", () -> Script.text(consumer.pullBlockIfNotFound(queue, "*", 5, 32)));
        Script.step("pull of a queue that does not exist", () -> Script.text(consumer.pull(new MessageQueue(topic, "broker-a", 9), "*", 0, 32)));
        MessageQueue nowhere = new MessageQueue("JavaPullNowhere", "broker-a", 0);
        Script.step("pull of an unknown topic", () -> Script.text(consumer.pull(nowhere, "*", 0, 32)));
        for (MessageQueue one : List.of(queue, empty, nowhere)) {
            String name = one.getTopic() + " " + one.getQueueId();
            Script.step("min offset of " + name, () -> consumer.minOffset(one));
            Script.step("max offset of " + name, () -> consumer.maxOffset(one));
            Script.step("earliest time of " + name + " is none", () -> consumer.earliestMsgStoreTime(one) == -1);
            Script.step("committed offset of " + name, () -> consumer.fetchConsumeOffset(one, true));
            Script.step("stored offset of " + name, () -> consumer.fetchConsumeOffset(one, false));
        }
        List<MessageExt> all = consumer.pull(queue, "*", 0, 32).getMsgFoundList();
        for (int i = 0; i < all.size(); i++) {
            long time = all.get(i).getStoreTimestamp();
            for (long shift : new long[] {-5, 0, 5}) {
                Script.step("search message " + i + " " + shift + " ms", () -> consumer.searchOffset(queue, time + shift));
            }
        }
        Script.step("search before all", () -> consumer.searchOffset(queue, 0));
        Script.step("search behind all", () -> consumer.searchOffset(queue, System.currentTimeMillis() + 3_600_000));
        Script.step("search in an empty queue", () -> consumer.searchOffset(empty, System.currentTimeMillis()));
        consumer.updateConsumeOffset(queue, 3);
        consumer.getDefaultMQPullConsumerImpl().getOffsetStore().updateConsumeOffsetToBroker(queue, 3, false);
        Script.step("offset after a commit", () -> consumer.getDefaultMQPullConsumerImpl().getOffsetStore()
            .readOffset(queue, org.apache.rocketmq.client.consumer.store.ReadOffsetType.READ_FROM_STORE));
        Script.step("view by id", () -> Script.text(Script.admin.viewMessage(topic, ((org.apache.rocketmq.common.message.MessageClientExt) all.get(2)).getOffsetMsgId())));
        Script.step("subscribed queues", () -> new java.util.TreeSet<>(consumer.fetchSubscribeMessageQueues(topic)));
        Script.step("subscribed queues of an unknown topic", () -> consumer.fetchSubscribeMessageQueues("JavaPullNowhere"));
        Script.step("send back", () -> {
            consumer.sendMessageBack(all.get(1), 1);
            Script.await(() -> Script.admin.maxOffset(new MessageQueue("%RETRY%" + group, "broker-a", 0)) == 1);
            return Script.text(consumer.pull(new MessageQueue("%RETRY%" + group, "broker-a", 0), "*", 0, 32));
        });
        consumer.shutdown();
    }
}
