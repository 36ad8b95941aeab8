package ringmq.clients;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/** What all cases of one run share: where the cluster is, an admin client, one producer. Thread-safe after start. */
final class Environment {
    final String namesrv;
    /** Makes topic and group names of this run new to the cluster. */
    final String run = Long.toString(System.currentTimeMillis(), 36);
    final DefaultMQAdminExt admin = new DefaultMQAdminExt("admin_" + run);
    /** Default settings throughout: with 4.3.2 it talks to the VIP channel, listenPort - 2. */
    final DefaultMQProducer producer = new DefaultMQProducer("producer_" + run);
    private final List<String> masters = new ArrayList<>();

    Environment(String namesrv) throws Exception {
        this.namesrv = namesrv;
        admin.setNamesrvAddr(namesrv);
        admin.setInstanceName("admin_" + run);
        admin.start();
        producer.setNamesrvAddr(namesrv);
        producer.setInstanceName("producer_" + run);
        producer.start();
        Expect.within(20, "a master broker is registered", () -> {
            masters.clear();
            for (var broker : admin.examineBrokerClusterInfo().getBrokerAddrTable().values()) {
                String master = broker.getBrokerAddrs().get(0L);
                if (master != null) {
                    masters.add(master);
                }
            }
            return !masters.isEmpty();
        });
        // Opens the shared producer's connections from one thread. In createChannel, the 4.3.2 client closes a connection that
        // another thread has just opened; a message in flight on it fails, is sent again at once, and is in the topic twice.
        String first = "first_" + run;
        createTopic(first, 1);
        for (var queue : producer.fetchPublishMessageQueues(first)) {
            producer.send(new Message(first, new byte[1]), queue);
        }
    }

    /** One at a time: the 4.3.2 client loses requests when threads race for its first connection. */
    synchronized void createTopic(String topic, int queues) throws Exception {
        TopicConfig config = new TopicConfig(topic, queues, queues, 6);
        for (String master : masters) {
            admin.createAndUpdateTopicConfig(master, config);
        }
        Expect.within(10, "route of " + topic, () ->
            admin.examineTopicRouteInfo(topic).getQueueDatas().stream().mapToInt(q -> q.getWriteQueueNums()).sum()
                == queues * masters.size());
    }

    Set<String> masters() {
        return Set.copyOf(masters);
    }

    /** The broker's committed offsets of a group on a topic, summed over its queues. */
    long committed(String group, String topic) throws Exception {
        return admin.examineConsumeStats(group, topic).getOffsetTable().values().stream()
            .mapToLong(offset -> offset.getConsumerOffset()).sum();
    }

    void close() {
        producer.shutdown();
        admin.shutdown();
    }
}
