import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.zip.CRC32;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** What makes an Apache store worth importing, and what looks at it through a broker, Apache's or ours. */
public final class StoreClient {
    private static final String LONG_GROUP = "g-" + "x".repeat(110);
    private static String namesrv;

    public static void main(String[] args) throws Exception {
        namesrv = args[0];
        switch (args[1]) {
            case "produce": produce(); break;
            case "deleted": sendPlain(args[2], Integer.parseInt(args[3]), "life " + args[4]); break;
            case "consume": consume(args[2], args[3], Integer.parseInt(args[4])); break;
            case "dump": dump(args); break;
            default: throw new IllegalArgumentException(args[1]);
        }
        System.exit(0);
    }

    private static DefaultMQProducer producer() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("store-producer");
        producer.setNamesrvAddr(namesrv);
        producer.setSendMsgTimeout(20000);
        producer.setCompressMsgBodyOverHowmuch(3000);
        producer.start();
        return producer;
    }

    private static void sendPlain(String topic, int count, String text) throws Exception {
        DefaultMQProducer producer = producer();
        for (int i = 0; i < count; i++) {
            producer.send(new Message(topic, "TagA", topic + "-" + i, (text + " " + i).getBytes(StandardCharsets.UTF_8)));
        }
        producer.shutdown();
    }

    private static void produce() throws Exception {
        DefaultMQProducer producer = producer();
        for (int i = 0; i < 240; i++) {
            StringBuilder body = new StringBuilder("order " + i + " 订单 ");
            while (body.length() < 300 + i % 7 * 40) body.append((char) ('a' + i % 26));
            Message message = new Message("orders", i % 3 == 0 ? "TagA" : i % 3 == 1 ? "TagB" : null, "k" + i + " 键" + i,
                body.toString().getBytes(StandardCharsets.UTF_8));
            message.setFlag(i);
            message.putUserProperty("n", Integer.toString(i));
            producer.send(message);
        }
        for (int batch = 0; batch < 4; batch++) {
            List<Message> messages = new ArrayList<>();
            for (int i = 0; i < 10; i++) messages.add(new Message("orders", "TagC", "b" + batch + "-" + i, ("batch " + batch + " " + i).getBytes()));
            producer.send(messages);
        }
        // compressed by the client
        producer.send(new Message("orders", "TagA", "large", "z".repeat(20000).getBytes()));
        // an empty body is refused by the client, so the smallest has one byte
        producer.send(new Message("orders", null, null, new byte[] {0}));
        for (int level : new int[] {1, 1, 18, 18, 18, 17}) {
            Message message = new Message("delayed", "TagD", "d" + level, ("delayed at level " + level).getBytes());
            message.setDelayTimeLevel(level);
            producer.send(message);
        }
        for (int i = 0; i < 3; i++) producer.send(new Message("retrying", "TagR", "r" + i, ("retry " + i).getBytes()));
        producer.shutdown();
        transactions();
        retry();
        Thread.sleep(3000);
    }

    private static void transactions() throws Exception {
        TransactionMQProducer producer = new TransactionMQProducer("store-tx");
        producer.setNamesrvAddr(namesrv);
        producer.setSendMsgTimeout(20000);
        producer.setTransactionListener(new TransactionListener() {
            @Override public LocalTransactionState executeLocalTransaction(Message message, Object state) {
                return (LocalTransactionState) state;
            }
            @Override public LocalTransactionState checkLocalTransaction(MessageExt message) {
                return LocalTransactionState.UNKNOW;
            }
        });
        producer.start();
        LocalTransactionState[] states = {LocalTransactionState.COMMIT_MESSAGE, LocalTransactionState.ROLLBACK_MESSAGE, LocalTransactionState.UNKNOW};
        for (int i = 0; i < 6; i++) {
            producer.sendMessageInTransaction(new Message("tx", "TagT", "t" + i, ("transaction " + i + " " + states[i % 3]).getBytes()), states[i % 3]);
        }
        producer.shutdown();
    }

    /** Each message fails once and comes again through the retry topic. */
    private static void retry() throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(LONG_GROUP);
        consumer.setNamesrvAddr(namesrv);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe("retrying", "*");
        int[] again = {0};
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            context.setDelayLevelWhenNextConsume(1);
            if (messages.get(0).getReconsumeTimes() > 0) {
                synchronized (again) { again[0]++; again.notifyAll(); }
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            }
            return ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        long end = System.currentTimeMillis() + 60000;
        synchronized (again) { while (again[0] < 3 && System.currentTimeMillis() < end) again.wait(1000); }
        consumer.setAwaitTerminationMillisWhenShutdown(3000);
        consumer.shutdown();
        if (again[0] < 3) throw new IllegalStateException("only " + again[0] + " retried");
    }

    /** Consumes at least COUNT messages (negative: all there are) and commits; prints queue and offset of each. */
    private static void consume(String group, String topic, int count) throws Exception {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setAutoCommit(false);
        consumer.setPullBatchSize(8);
        consumer.subscribe(topic, "*");
        consumer.start();
        int seen = 0, idle = 0;
        while (count < 0 ? idle < 12 : seen < count) {
            List<MessageExt> messages = consumer.poll(1000);
            idle = messages.isEmpty() ? idle + 1 : 0;
            for (MessageExt message : messages) {
                System.out.println(message.getQueueId() + "\t" + message.getQueueOffset() + "\t" + message.getMsgId());
                seen++;
            }
            consumer.commitSync();
        }
        Thread.sleep(500);
        consumer.shutdown();
    }

    /** dump FILE TOPIC…: every message of the topics, by queue and offset. */
    private static void dump(String[] args) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer("store-dump");
        consumer.setNamesrvAddr(namesrv);
        consumer.start();
        try (PrintStream out = new PrintStream(args[2], "UTF-8")) {
            for (int t = 3; t < args.length; t++) {
                String topic = args[t];
                Set<MessageQueue> queues = new TreeSet<>(consumer.fetchSubscribeMessageQueues(topic));
                for (MessageQueue queue : queues) {
                    long offset = consumer.minOffset(queue), max = consumer.maxOffset(queue);
                    out.printf("queue\t%s\t%d\t%d\t%d%n", topic, queue.getQueueId(), offset, max);
                    while (offset < max) {
                        PullResult result = consumer.pull(queue, "*", offset, 32);
                        if (result.getPullStatus() != PullStatus.FOUND) throw new IllegalStateException(queue + " " + offset + " " + result);
                        for (MessageExt m : result.getMsgFoundList()) {
                            CRC32 crc = new CRC32();
                            crc.update(m.getBody());
                            out.printf("message\t%s\t%d\t%d\t%d\t%d\t%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%d\t%d%n", topic, m.getQueueId(), m.getQueueOffset(),
                                m.getStoreTimestamp(), m.getBornTimestamp(), m.getBornHost(), m.getSysFlag(), m.getFlag(), m.getReconsumeTimes(),
                                m.getTags(), m.getKeys(), m.getProperty("UNIQ_KEY"), m.getProperty("n"), m.getBody().length, crc.getValue());
                        }
                        offset = result.getNextBeginOffset();
                    }
                }
            }
        }
        consumer.shutdown();
    }
}
