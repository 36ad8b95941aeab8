import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * {@code Script NAMESRV BROKER RUN}: works with an unmodified client and prints what it sees, a line for each step: a name, a tab and a text.
 * The same program runs against two brokers; the lines are compared. RUN is part of the names of topics and groups.
 */
public final class Script {
    /** Nothing takes so long but on a machine that has much else to do. */
    private static final long SECONDS_MAX = 60;
    static String namesrv;
    static String broker;
    static String run;
    static DefaultMQAdminExt admin;
    static DefaultMQProducer producer;

    private Script() { }

    public static void main(String[] arguments) throws Exception {
        namesrv = arguments[0];
        broker = arguments[1];
        run = arguments[2];
        admin = new DefaultMQAdminExt("admin" + run);
        admin.setNamesrvAddr(namesrv);
        admin.setInstanceName("admin");
        admin.start();
        producer = new DefaultMQProducer("producer" + run);
        producer.setNamesrvAddr(namesrv);
        producer.setInstanceName("producer");
        producer.start();
        // Those that wait side by side.
        List<Thread> threads = new ArrayList<>();
        for (Part part : List.<Part>of(Pulls::run, Pushes::run, Retries::run, Operators::run, Lite::run)) {
            Thread thread = new Thread(() -> {
                try {
                    part.run();
                } catch (Throwable error) {
                    error.printStackTrace();
                    print("breaks off", error.toString());
                }
            });
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            thread.join();
        }
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    interface Part {
        void run() throws Exception;
    }

    /** One line. */
    static synchronized void print(String name, Object value) {
        System.out.println(name + "\t" + String.valueOf(value).replace('\n', ' ').replace('\t', ' '));
    }

    /** What a step gives, or how it fails. */
    static void step(String name, Callable<?> step) {
        Object value;
        try {
            value = step.call();
        } catch (Throwable error) {
            value = failure(error);
        }
        print(name, value);
    }

    static String failure(Throwable error) {
        if (error instanceof MQBrokerException) {
            return "broker exception " + ((MQBrokerException) error).getResponseCode() + " " + ((MQBrokerException) error).getErrorMessage();
        }
        if (error instanceof MQClientException) {
            return "client exception " + ((MQClientException) error).getResponseCode() + " " + ((MQClientException) error).getErrorMessage();
        }
        return error.toString();
    }

    static void createTopic(String topic, int queues) throws Exception {
        createTopic(topic, queues, 6);
    }

    static void createTopic(String topic, int queues, int perm) throws Exception {
        admin.createAndUpdateTopicConfig(broker, new TopicConfig(topic, queues, queues, perm));
        await(() -> admin.examineTopicRouteInfo(topic).getQueueDatas().size() == 1);
    }

    /** Sends to one queue and waits until the message can be read. */
    static SendResult send(String topic, int queue, String body, String tags) throws Exception {
        Message message = new Message(topic, tags, "key-" + body, body.getBytes(StandardCharsets.UTF_8));
        MessageQueue target = new MessageQueue(topic, "broker-a", queue);
        SendResult result = producer.send(message, target);
        await(() -> admin.maxOffset(target) > result.getQueueOffset());
        return result;
    }

    static DefaultMQPullConsumer puller(String group) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(group);
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName(group);
        consumer.setBrokerSuspendMaxTimeMillis(1_000);
        consumer.start();
        return consumer;
    }

    static void await(Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + SECONDS_MAX * 1_000_000_000L;
        while (true) {
            try {
                if (condition.call()) {
                    return;
                }
            } catch (MQClientException | MQBrokerException notYet) {
                // asked again
            }
            if (System.nanoTime() > end) {
                throw new IllegalStateException("what is waited for does not come within " + SECONDS_MAX + " s");
            }
            Thread.sleep(20);
        }
    }

    static String text(PullResult result) {
        List<MessageExt> found = result.getMsgFoundList();
        return result.getPullStatus() + " next " + result.getNextBeginOffset() + " min " + result.getMinOffset() + " max " + result.getMaxOffset()
            + " " + (found == null ? null : texts(found));
    }

    static String texts(Collection<MessageExt> messages) {
        List<String> texts = new ArrayList<>();
        for (MessageExt message : messages) {
            texts.add(text(message));
        }
        return texts.toString();
    }

    /** All that is the same whoever stored it, and whenever it is read. */
    static String text(MessageExt message) {
        Map<String, String> properties = new TreeMap<>(message.getProperties());
        properties.keySet().removeAll(Arrays.asList("UNIQ_KEY", "ORIGIN_MESSAGE_ID", "CONSUME_START_TIME", "MIN_OFFSET", "MAX_OFFSET"));
        return message.getTopic() + "/" + message.getQueueId() + "/" + message.getQueueOffset() + " " + body(message) + " flag " + message.getFlag()
            + " sysFlag " + message.getSysFlag() + " times " + message.getReconsumeTimes() + " " + properties;
    }

    static String body(MessageExt message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }
}
