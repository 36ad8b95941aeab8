import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageQueue;

/** Messages that fail, until they are dead letters. */
final class Retries {
    private Retries() { }

    static void run() throws Exception {
        Thread orderly = new Thread(() -> Script.step("orderly", () -> orderly()));
        orderly.start();
        concurrently();
        orderly.join();
    }

    private static DefaultMQPushConsumer consumer(String group, String topic) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(Script.namesrv);
        consumer.setInstanceName(group);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setMaxReconsumeTimes(2);
        consumer.setPollNameServerInterval(500);
        consumer.setHeartbeatBrokerInterval(500);
        consumer.subscribe(topic, "*");
        return consumer;
    }

    private static void concurrently() throws Exception {
        String group = "JavaRetry" + Script.run;
        Script.createTopic(group, 1);
        // A first life makes the retry topic; a client that starts before it exists takes it up much later.
        DefaultMQPushConsumer first = consumer(group, group);
        first.registerMessageListener((MessageListenerConcurrently) (messages, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        first.start();
        Script.await(() -> Script.admin.examineTopicRouteInfo("%RETRY%" + group).getQueueDatas().size() == 1);
        first.shutdown();
        List<String> got = new CopyOnWriteArrayList<>();
        DefaultMQPushConsumer consumer = consumer(group, group);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            messages.forEach(message -> got.add(Script.text(message)));
            context.setDelayLevelWhenNextConsume(1);
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        Script.send(group, 0, "fails", "A");
        Script.await(() -> got.size() >= 3);
        Script.print("retries", got.subList(0, 3));
        MessageQueue dead = new MessageQueue("%DLQ%" + group, "broker-a", 0);
        Script.await(() -> Script.admin.maxOffset(dead) >= 1);
        consumer.shutdown();
        DefaultMQPullConsumer reader = Script.puller("Reader" + group);
        Script.step("dead letter", () -> first(reader, dead));
        Script.step("retry queue", () -> first(reader, new MessageQueue("%RETRY%" + group, "broker-a", 0)));
        reader.shutdown();
    }

    /** A client that waits too long for a busy broker sends again: how many there are is a matter of time. */
    private static String first(DefaultMQPullConsumer reader, MessageQueue queue) throws Exception {
        return Script.texts(reader.pull(queue, "*", 0, 1).getMsgFoundList());
    }

    /** Suspends the queue; after two retries the message is a dead letter, and the next one follows. */
    private static String orderly() throws Exception {
        String group = "JavaOrderly" + Script.run;
        Script.createTopic(group, 1);
        Script.send(group, 0, "fails", "A");
        Script.send(group, 0, "follows", "A");
        List<String> got = new CopyOnWriteArrayList<>();
        DefaultMQPushConsumer consumer = consumer(group, group);
        consumer.setSuspendCurrentQueueTimeMillis(100);
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            boolean fails = false;
            for (var message : messages) {
                got.add(Script.text(message));
                fails |= Script.body(message).equals("fails");
            }
            return fails ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        Script.await(() -> got.stream().anyMatch(text -> text.contains(" follows ")));
        Script.await(() -> Script.admin.maxOffset(new MessageQueue("%DLQ%" + group, "broker-a", 0)) >= 1);
        consumer.shutdown();
        DefaultMQPullConsumer reader = Script.puller("Reader" + group);
        String dead = first(reader, new MessageQueue("%DLQ%" + group, "broker-a", 0));
        reader.shutdown();
        return got + " dead " + dead;
    }
}
