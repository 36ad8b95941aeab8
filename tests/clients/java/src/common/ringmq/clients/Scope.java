package ringmq.clients;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.List;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** One case: its own topic and group names, and its clients, which end with it. Used by the case's thread only. */
final class Scope implements AutoCloseable {
    final Environment environment;
    final String name;
    final Ledger ledger;
    final String topic;
    final String group;
    private final Deque<Runnable> closers = new ArrayDeque<>();
    private int instances;
    private DefaultMQPullConsumer reader;

    Scope(Environment environment, String name) {
        this.environment = environment;
        this.name = name;
        this.topic = "t_" + name + "_" + environment.run;
        this.group = "g_" + name + "_" + environment.run;
        this.ledger = new Ledger(name);
    }

    DefaultMQProducer producer() {
        return environment.producer;
    }

    void createTopic(int queues) throws Exception {
        environment.createTopic(topic, queues);
    }

    /** A producer of its own, for cases that change its settings. Not started. */
    DefaultMQProducer newProducer() {
        DefaultMQProducer producer = new DefaultMQProducer("p_" + group);
        producer.setNamesrvAddr(environment.namesrv);
        producer.setInstanceName(instance());
        closers.push(producer::shutdown);
        return producer;
    }

    /** A push consumer of the case's group with a client id of its own, from the first offset. Not started. */
    DefaultMQPushConsumer push() {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(group);
        consumer.setNamesrvAddr(environment.namesrv);
        consumer.setInstanceName(instance());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setConsumeThreadMin(2); // many clients share two cores
        consumer.setConsumeThreadMax(4);
        // A client that rebalances during its first heartbeat skips the second one; until the next, the broker
        // rightly answers SUBSCRIPTION_NOT_LATEST. Short periods make that, and new routes, a matter of a second.
        consumer.setHeartbeatBrokerInterval(1_000);
        consumer.setPollNameServerInterval(1_000);
        closers.push(consumer::shutdown);
        return consumer;
    }

    /**
     * Makes the group known, as a first life of its consumer does: the heartbeat creates the retry topic. A client that
     * starts before the retry topic exists takes it up at a later rebalance only, up to 20 s after.
     */
    void introduceGroup() throws Exception {
        DefaultMQPushConsumer consumer = push();
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> ConsumeConcurrentlyStatus.RECONSUME_LATER);
        consumer.start();
        Expect.within(20, "retry topic of the group", () ->
            environment.admin.examineTopicRouteInfo("%RETRY%" + group).getQueueDatas().get(0).getReadQueueNums() == 1);
        consumer.shutdown();
    }

    /** Every consumer gets every message. By name, because the enum's package differs between 4.x and 5.x. */
    static void broadcast(DefaultMQPushConsumer consumer) {
        consumer.setMessageModel(Enum.valueOf(consumer.getMessageModel().getDeclaringClass(), "BROADCASTING"));
    }

    /** A started pull consumer of the group. */
    DefaultMQPullConsumer pull(String group) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
        consumer.setNamesrvAddr(environment.namesrv);
        consumer.setInstanceName(instance());
        consumer.start();
        closers.push(consumer::shutdown);
        return consumer;
    }

    void closeLater(Runnable closer) {
        closers.push(closer);
    }

    String instance() {
        return name + "_" + environment.run + "_" + instances++;
    }

    void sendSync(int count) throws Exception {
        for (Message message : ledger.messages(topic, count)) {
            ledger.sent(message, producer().send(message));
        }
    }

    /** The same, and waits until all that the ledger expects is readable. */
    void sendReadable(int count) throws Exception {
        sendSync(count);
        readAll(topic, ledger.expectedCount());
    }

    /** What the topic holds now, queue by queue from its first offset, read by plain pulls. */
    List<MessageExt> readAll(String topic) throws Exception {
        if (reader == null) {
            reader = pull("reader_" + group);
        }
        List<MessageExt> all = new ArrayList<>();
        Set<MessageQueue> queues = reader.fetchSubscribeMessageQueues(topic);
        for (MessageQueue queue : queues.stream().sorted(Comparator.naturalOrder()).toList()) {
            long offset = reader.minOffset(queue);
            long max = reader.maxOffset(queue);
            while (offset < max) {
                PullResult result = reader.pull(queue, "*", offset, 32);
                Expect.equal(PullStatus.FOUND, result.getPullStatus(), "reading " + queue + " at " + offset + " of " + max);
                for (MessageExt message : result.getMsgFoundList()) {
                    Expect.equal(offset, message.getQueueOffset(), "dense offsets in " + queue);
                    offset++;
                    all.add(message);
                }
                Expect.equal(offset, result.getNextBeginOffset(), "next offset in " + queue);
            }
        }
        return all;
    }

    /** Waits until that many are readable: the reference answers a send before its queues show the message. */
    List<MessageExt> readAll(String topic, int count) throws Exception {
        Expect.within(10, count + " readable in " + topic, () -> readAll(topic).size() >= count);
        return readAll(topic);
    }

    /** Reads the case's topic until it holds what was sent, and checks every message, exactly once. */
    void readBackExactlyOnce() throws Exception {
        for (MessageExt message : readAll(topic, ledger.expectedCount())) {
            ledger.seen("reader", message);
        }
        ledger.checkExactlyOnce();
    }

    /** Queues of the case's topic that the consumer holds at this moment. */
    Set<MessageQueue> held(DefaultMQPushConsumer consumer) {
        return Set.copyOf(consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet().stream()
            .filter(queue -> queue.getTopic().equals(topic)).toList());
    }

    @Override
    public void close() {
        while (!closers.isEmpty()) {
            closers.pop().run();
        }
    }
}
