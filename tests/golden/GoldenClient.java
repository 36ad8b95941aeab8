// What an application does, once, so that its frames can be recorded: send in every way, pull, push with tags, orderly,
// offsets, a message that fails and comes back, look-ups, shutdown. Compiles against clients 4.3.2 to 5.5.0.
//   java … GoldenClient <topic suffix>
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.listener.*;
import org.apache.rocketmq.client.producer.*;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.*;

public class GoldenClient {
    public static void main(String[] args) throws Exception {
        String suffix = args[0];
        String topic = "Golden" + suffix;
        DefaultMQProducer producer = new DefaultMQProducer("PG_" + suffix);
        producer.start();

        Message first = new Message(topic, "TagA", "key1 key2", "sync".getBytes("UTF-8"));
        first.putUserProperty("user", "\u8ba2\u5355 \"quoted\" \\ back");
        first.setFlag(7);
        SendResult sent = producer.send(first, 10000);
        System.out.println(sent);
        final CountDownLatch answered = new CountDownLatch(1);
        producer.send(new Message(topic, "TagB", "async".getBytes("UTF-8")), new SendCallback() {
            @Override public void onSuccess(SendResult result) { answered.countDown(); }
            @Override public void onException(Throwable cause) { cause.printStackTrace(); answered.countDown(); }
        });
        answered.await(10, TimeUnit.SECONDS);
        producer.sendOneway(new Message(topic, "one-way".getBytes("UTF-8")));
        List<Message> batch = new ArrayList<Message>();
        for (int i = 0; i < 3; i++) batch.add(new Message(topic, "TagA", "b" + i, ("batch " + i).getBytes("UTF-8")));
        System.out.println(producer.send(batch));
        byte[] large = new byte[5000]; // above 4096 bytes clients compress
        System.out.println(producer.send(new Message(topic, "TagA", large)));
        Message delayed = new Message(topic, "TagA", "delayed".getBytes("UTF-8"));
        delayed.setDelayTimeLevel(1);
        System.out.println(producer.send(delayed));
        System.out.println(producer.send(new Message(topic, "TagC", "selected".getBytes("UTF-8")), new MessageQueueSelector() {
            @Override public MessageQueue select(List<MessageQueue> queues, Message message, Object arg) { return queues.get((Integer) arg); }
        }, 1));
        try {
            producer.send(new Message("Illegal Topic", "x".getBytes("UTF-8")));
        } catch (Exception expected) {
            System.out.println("refused: " + expected.getMessage());
        }

        final AtomicBoolean failed = new AtomicBoolean();
        final CountDownLatch consumed = new CountDownLatch(7);
        DefaultMQPushConsumer push = new DefaultMQPushConsumer("CG_" + suffix);
        push.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        push.subscribe(topic, "TagA || TagB");
        push.registerMessageListener(new MessageListenerConcurrently() {
            @Override public ConsumeConcurrentlyStatus consumeMessage(List<MessageExt> messages, ConsumeConcurrentlyContext context) {
                if (failed.compareAndSet(false, true)) return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                for (MessageExt message : messages) consumed.countDown();
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            }
        });
        push.start();
        DefaultMQPushConsumer orderly = new DefaultMQPushConsumer("CO_" + suffix);
        orderly.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        orderly.subscribe(topic, "*");
        orderly.registerMessageListener(new MessageListenerOrderly() {
            @Override public ConsumeOrderlyStatus consumeMessage(List<MessageExt> messages, ConsumeOrderlyContext context) { return ConsumeOrderlyStatus.SUCCESS; }
        });
        orderly.start();
        System.out.println("consumed all: " + consumed.await(40, TimeUnit.SECONDS));

        DefaultMQPullConsumer pull = new DefaultMQPullConsumer("CP_" + suffix);
        pull.start();
        Set<MessageQueue> queues = pull.fetchSubscribeMessageQueues(topic);
        for (MessageQueue queue : queues) {
            long from = pull.minOffset(queue), to = pull.maxOffset(queue);
            System.out.println(queue + " " + from + ".." + to + " earliest " + pull.earliestMsgStoreTime(queue)
                + " at " + pull.searchOffset(queue, System.currentTimeMillis()) + " stored " + pull.fetchConsumeOffset(queue, true));
            PullResult result = pull.pull(queue, "*", from, 32);
            System.out.println(result.getPullStatus());
            System.out.println(pull.pull(queue, "*", to + 100, 32).getPullStatus());
            System.out.println(pull.pull(queue, "NoSuchTag", from, 32).getPullStatus());
            pull.updateConsumeOffset(queue, result.getNextBeginOffset());
        }
        System.out.println(pull.viewMessage(topic, sent.getOffsetMsgId()).getTopic());
        try {
            System.out.println(pull.queryMessage(topic, "key1", 10, 0, Long.MAX_VALUE).getMessageList().size());
        } catch (Exception none) {
            System.out.println("query: " + none.getMessage());
        }
        TimeUnit.SECONDS.sleep(6); // the consumers persist their offsets every 5 s
        pull.shutdown();
        orderly.shutdown();
        push.shutdown();
        producer.shutdown();
        System.exit(0);
    }
}
