package ringmq.mqadmin;

import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.MQVersion;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Runs Apache's mqadmin against a cluster whose truth is known, because it is made here first, and compares the tables:
 * {@code --namesrv host:port --cluster name [--known-npe true]}. Cases build on one another and run in order.
 */
public final class Main {
    private static final int QUEUES = 6;

    /** A step; throws when it fails. */
    private interface Step {
        void run() throws Exception;
    }

    private final String namesrv;
    private final String cluster;
    /** Apache 5.5.0 renamed a runtime key, on which clusterList of 4.x throws: tolerated against that server only. */
    private final boolean knownException;
    private final String run = Long.toString(System.currentTimeMillis(), 36);
    private final String topic = "adm_topic_" + run;
    private final String pullGroup = "adm_pull_" + run;
    private final String pushGroup = "adm_push_" + run;
    /** By key {@code k<queue>_<offset>}. */
    private final Map<String, SendResult> sent = new LinkedHashMap<>();
    private String brokerName;
    private String brokerAddress;
    private DefaultMQPushConsumer online;
    private int passed;
    private int failed;

    private Main(Map<String, String> options) {
        namesrv = options.get("--namesrv");
        cluster = options.getOrDefault("--cluster", "DefaultCluster");
        knownException = Boolean.parseBoolean(options.get("--known-npe"));
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, String> options = new LinkedHashMap<>();
        for (int i = 0; i + 1 < arguments.length; i += 2) {
            options.put(arguments[i], arguments[i + 1]);
        }
        Main main = new Main(options);
        main.step("clusterList", main::clusterList);
        main.step("updateTopic_creates", main::updateTopicCreates);
        main.step("topicRoute", main::topicRoute);
        main.step("updateTopic_changes", main::updateTopicChanges);
        main.step("topicList", main::topicList);
        main.step("topicStatus_empty", () -> main.topicStatus(queue -> 0));
        main.step("topicStatus_after_sends", main::topicStatusAfterSends);
        main.step("queryMsgByKey", main::queryMsgByKey);
        main.step("queryMsgByKey_finds_nothing", main::queryMsgByKeyFindsNothing);
        main.step("queryMsgByUniqueKey", main::queryMsgByUniqueKey);
        main.step("queryMsgById", main::queryMsgById);
        main.step("queryMsgByOffset", main::queryMsgByOffset);
        main.step("consumerProgress_of_group", main::consumerProgressOfGroup);
        main.step("consumerProgress_all_groups", main::consumerProgressAll);
        main.step("topicList_with_groups", main::topicListWithGroups);
        main.step("clusterList_totals", main::clusterListTotals);
        main.step("deleteTopic", main::deleteTopic);
        if (main.online != null) {
            main.online.shutdown();
        }
        System.out.println(main.passed + " passed, " + main.failed + " failed");
        System.out.flush();
        Runtime.getRuntime().halt(main.failed == 0 ? 0 : 1);
    }

    private void step(String name, Step step) {
        long start = System.nanoTime();
        try {
            step.run();
            passed++;
            System.out.println("ok " + name + "  [" + (System.nanoTime() - start) / 1_000_000 + " ms]");
        } catch (Throwable e) {
            failed++;
            e.printStackTrace();
            System.out.println("FAIL " + name + ": " + e.toString().replace('\n', ' '));
        }
    }

    private Command admin(String... arguments) throws Exception {
        return Command.run(namesrv, arguments);
    }

    private static void equal(Object expected, Object actual, String what) {
        if (!Objects.equals(expected, actual)) {
            throw new AssertionError(what + ": expected " + expected + ", was " + actual);
        }
    }

    private static void that(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    /** Messages that the truth puts into a queue. */
    private static int sentTo(int queue) {
        return 3 * queue + 1;
    }

    private void clusterList() throws Exception {
        Command command = admin("clusterList");
        for (int i = 0; i < 20 && !command.says(cluster); i++) { // a broker that has just started registers a moment later
            Thread.sleep(500);
            command = admin("clusterList");
        }
        if (!knownException) {
            command.clean();
        }
        Table table = new Table(command, "Cluster Name");
        Map<String, String> broker = table.one("Cluster Name", cluster, "BID", "0");
        brokerName = broker.get("Broker Name");
        brokerAddress = broker.get("Addr");
        that(brokerAddress.matches("[0-9.]+:[0-9]+"), "address " + brokerAddress);
        that(broker.get("Version").startsWith("V"), "version " + broker.get("Version"));
        that(broker.values().stream().anyMatch(value -> value.matches("[0-9.]+\\([0-9]+,[0-9]+ms\\)")), "TPS with load, in " + broker);
        if (table.columns.contains("ACTIVATED")) {
            equal("true", broker.get("last"), "activated");
        }
    }

    private void updateTopicCreates() throws Exception {
        Command command = admin("updateTopic", "-c", cluster, "-t", topic, "-r", "4", "-w", "4").clean();
        that(command.says("create topic to " + brokerAddress + " success."), command.all());
        that(command.says("topicName=" + topic) && command.says("readQueueNums=4, writeQueueNums=4, perm=RW-"), command.all());
    }

    private String route() throws Exception {
        return admin("topicRoute", "-t", topic).clean().all().replaceAll("\\s", "");
    }

    private void topicRoute() throws Exception {
        String route = route();
        that(route.contains("\"brokerAddrs\":{0:\"" + brokerAddress + "\"}"), "address in " + route);
        that(route.contains("\"brokerName\":\"" + brokerName + "\""), "broker in " + route);
        that(route.contains("\"cluster\":\"" + cluster + "\""), "cluster in " + route);
        that(route.contains("\"perm\":6,\"readQueueNums\":4,\"topicSysFlag\":0,\"writeQueueNums\":4"), "queues in " + route);
    }

    /** By broker address this time; more queues, as an operator grows a topic. */
    private void updateTopicChanges() throws Exception {
        Command command = admin("updateTopic", "-b", brokerAddress, "-t", topic, "-r", "" + QUEUES, "-w", "" + QUEUES).clean();
        that(command.says("create topic to " + brokerAddress + " success."), command.all());
        String route = route();
        that(route.contains("\"perm\":6,\"readQueueNums\":6,\"topicSysFlag\":0,\"writeQueueNums\":6"), "queues in " + route);
    }

    private void topicList() throws Exception {
        List<String> topics = admin("topicList").clean().output().stream().map(String::trim).toList();
        equal(1L, topics.stream().filter(topic::equals).count(), "lines with " + topic);
        for (String system : List.of("TBW102", "SCHEDULE_TOPIC_XXXX", "SELF_TEST_TOPIC", "RMQ_SYS_TRANS_HALF_TOPIC", "BenchmarkTest", "OFFSET_MOVED_EVENT", cluster, brokerName)) {
            that(topics.contains(system), "built-in topic " + system);
        }
    }

    private interface Count {
        int of(int queue);
    }

    private void topicStatus(Count count) throws Exception {
        Table table = new Table(admin("topicStatus", "-t", topic).clean(), "Broker Name");
        equal(QUEUES, table.rows.size(), "rows of topicStatus");
        for (int queue = 0; queue < QUEUES; queue++) {
            Map<String, String> row = table.one("Broker Name", brokerName, "QID", "" + queue);
            equal("0", row.get("Min Offset"), "min offset of queue " + queue);
            equal("" + count.of(queue), row.get("Max Offset"), "max offset of queue " + queue);
            that(row.get("Last Updated").isEmpty() == (count.of(queue) == 0), "last update of queue " + queue + ": " + row.get("Last Updated"));
        }
    }

    private void topicStatusAfterSends() throws Exception {
        DefaultMQProducer producer = new DefaultMQProducer("adm_producer_" + run);
        producer.setNamesrvAddr(namesrv);
        producer.start();
        try {
            for (MessageQueue queue : producer.fetchPublishMessageQueues(topic)) {
                for (int i = 0; i < sentTo(queue.getQueueId()); i++) {
                    String key = "k" + queue.getQueueId() + "_" + i;
                    SendResult result = producer.send(new Message(topic, "T", "all " + key, ("m" + i).getBytes()), queue);
                    equal(SendStatus.SEND_OK, result.getSendStatus(), "status");
                    sent.put(key, result);
                }
            }
        } finally {
            producer.shutdown();
        }
        topicStatus(Main::sentTo);
    }

    private void queryMsgByKey() throws Exception {
        Table all = new Table(admin("queryMsgByKey", "-t", topic, "-k", "all").clean(), "Message ID");
        for (int i = 0; i < 20 && all.rows.size() < sent.size(); i++) { // the reference indexes a moment after the send
            Thread.sleep(200);
            all = new Table(admin("queryMsgByKey", "-t", topic, "-k", "all").clean(), "Message ID");
        }
        equal(sent.size(), all.rows.size(), "rows of the key that all have");
        for (SendResult result : sent.values()) {
            Map<String, String> row = all.one("Message ID", result.getMsgId());
            equal("" + result.getMessageQueue().getQueueId(), row.get("QID"), "queue of " + result.getMsgId());
            equal("" + result.getQueueOffset(), row.get("Offset"), "offset of " + result.getMsgId());
        }
        Table one = new Table(admin("queryMsgByKey", "-t", topic, "-k", "k3_2").clean(), "Message ID");
        // 5.5.0 adds a column for paging through the other index of its server.
        equal(List.of(sent.get("k3_2").getMsgId(), "3", "2"), one.rows.get(0).subList(0, 3), "the row of k3_2");
        equal(1, one.rows.size(), "rows of k3_2");
    }

    private void queryMsgByKeyFindsNothing() throws Exception {
        Command command = admin("queryMsgByKey", "-t", topic, "-k", "k3");
        that(command.all().contains("query message by key finished, but no message"), command.all());
    }

    private void queryMsgByUniqueKey() throws Exception {
        SendResult result = sent.get("k4_11");
        check(admin("queryMsgByUniqueKey", "-t", topic, "-i", result.getMsgId()), result, "k4_11", "m11");
    }

    private void queryMsgById() throws Exception {
        SendResult result = sent.get("k5_15");
        String[] byId = {"queryMsgById", "-i", result.getOffsetMsgId()};
        if (MQVersion.getVersionDesc(MQVersion.CURRENT_VERSION).startsWith("V5")) { // which asks for the topic, too
            byId = new String[] {byId[0], byId[1], byId[2], "-t", topic};
        }
        check(admin(byId), result, "k5_15", "m15");
    }

    private void queryMsgByOffset() throws Exception {
        check(admin("queryMsgByOffset", "-t", topic, "-b", brokerName, "-i", "2", "-o", "6"), sent.get("k2_6"), "k2_6", "m6");
    }

    /** The details of one message. */
    private void check(Command command, SendResult result, String key, String body) throws Exception {
        equal(topic, command.field("Topic:"), "topic");
        equal("T", command.field("Tags:").replaceAll("[\\[\\]]", ""), "tags");
        equal("all " + key, command.field("Keys:").replaceAll("[\\[\\]]", ""), "keys");
        equal("" + result.getMessageQueue().getQueueId(), command.field("Queue ID:"), "queue");
        equal("" + result.getQueueOffset(), command.field("Queue Offset:"), "queue offset");
        long physical = Long.parseLong(result.getOffsetMsgId().substring(16), 16);
        equal("" + physical, command.field("CommitLog Offset:"), "physical offset");
        String path = command.field("Message Body Path:");
        equal(body, java.nio.file.Files.readString(java.nio.file.Path.of(path)), "body in " + path);
    }

    /** A pull consumer commits a known offset for each queue; it is gone when mqadmin asks. */
    private void consumerProgressOfGroup() throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(pullGroup);
        consumer.setNamesrvAddr(namesrv);
        consumer.setInstanceName(pullGroup);
        consumer.setHeartbeatBrokerInterval(1_000);
        consumer.start();
        try {
            var queues = consumer.fetchSubscribeMessageQueues(topic);
            equal(QUEUES, queues.size(), "queues");
            for (MessageQueue queue : queues.stream().sorted(Comparator.naturalOrder()).toList()) {
                consumer.pull(queue, "*", 0, 1);
                consumer.updateConsumeOffset(queue, queue.getQueueId());
            }
            consumer.getDefaultMQPullConsumerImpl().getOffsetStore().persistAll(queues);
            // mqadmin finds a group by its retry topic, which a heartbeat creates.
            awaitRoute(consumer, "%RETRY%" + pullGroup);
        } finally {
            consumer.shutdown();
        }
        Thread.sleep(300); // commits are one-way
        Command command = admin("consumerProgress", "-g", pullGroup).clean();
        Table table = new Table(command, "Topic");
        int behind = 0;
        for (int queue = 0; queue < QUEUES; queue++) {
            Map<String, String> row = table.one("Topic", topic, "Broker Name", brokerName, "QID", "" + queue);
            equal("" + sentTo(queue), row.get("Broker Offset"), "broker offset of queue " + queue);
            equal("" + queue, row.get("Consumer Offset"), "consumer offset of queue " + queue);
            equal("" + (sentTo(queue) - queue), row.get("Diff"), "difference of queue " + queue);
            behind += sentTo(queue) - queue;
        }
        String total = command.output().stream().filter(line -> line.contains("Diff Total:")).findFirst().orElse("");
        that(total.matches(".*Diff Total: " + behind + "\\b.*"), "total of " + behind + " in: " + total);
    }

    private static void awaitRoute(DefaultMQPullConsumer consumer, String topic) throws Exception {
        for (int i = 0; ; i++) {
            try {
                consumer.fetchSubscribeMessageQueues(topic);
                return;
            } catch (MQClientException e) {
                if (i == 200) {
                    throw e;
                }
                Thread.sleep(100);
            }
        }
    }

    private void consumerProgressAll() throws Exception {
        int all = 0;
        int behind = 0;
        for (int queue = 0; queue < QUEUES; queue++) {
            all += sentTo(queue);
            behind += sentTo(queue) - queue;
        }
        AtomicInteger consumed = new AtomicInteger();
        online = new DefaultMQPushConsumer(pushGroup);
        online.setNamesrvAddr(namesrv);
        online.setInstanceName(pushGroup);
        online.setHeartbeatBrokerInterval(1_000);
        online.setPersistConsumerOffsetInterval(500);
        online.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        online.subscribe(topic, "*");
        online.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            consumed.addAndGet(messages.size());
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        online.start();
        for (int i = 0; i < 300 && consumed.get() < all; i++) {
            Thread.sleep(100);
        }
        equal(all, consumed.get(), "messages consumed");
        Thread.sleep(12_000); // the client's first commit comes 10 s after its start
        Table table = new Table(admin("consumerProgress").clean(), "Group");
        Map<String, String> idle = table.one("Group", pullGroup);
        equal("0", idle.get("Count"), "consumers of the pull group");
        equal("OFFLINE", idle.get("Version"), "version of the pull group");
        equal("" + behind, idle.get("last"), "difference of the pull group");
        Map<String, String> live = table.one("Group", pushGroup);
        equal("1", live.get("Count"), "consumers of the push group");
        that(live.get("Version").startsWith("V"), "version of the push group: " + live.get("Version"));
        equal("PUSH", live.get("Type"), "type of the push group");
        equal("CLUSTERING", live.get("Model"), "model of the push group");
        equal("0", live.get("Diff Total"), "difference of the push group");
    }

    private void topicListWithGroups() throws Exception {
        Table table = new Table(admin("topicList", "-c").clean(), "Cluster Name");
        equal(1, table.where("Cluster Name", cluster, "Topic", topic, "Consumer Group", pullGroup).size(), "rows of the pull group");
        equal(1, table.where("Cluster Name", cluster, "Topic", topic, "Consumer Group", pushGroup).size(), "rows of the push group");
    }

    private void clusterListTotals() throws Exception {
        Map<String, String> row = new Table(admin("clusterList", "-m").clean(), "Cluster Name").one("Cluster Name", cluster, "Broker Name", brokerName);
        for (String column : List.of("InTotalYest", "OutTotalYest", "InTotalToday", "OutTotalToday")) {
            that(row.get(column).matches("[0-9]+"), column + ": " + row.get(column));
        }
        long sent = 0;
        for (int queue = 0; queue < QUEUES; queue++) {
            sent += sentTo(queue);
        }
        that(Long.parseLong(row.get("InTotalToday")) >= sent, "sent today: " + row.get("InTotalToday"));
        that(Long.parseLong(row.get("OutTotalToday")) >= sent, "consumed today: " + row.get("OutTotalToday"));
    }

    private void deleteTopic() throws Exception {
        Command command = admin("deleteTopic", "-c", cluster, "-t", topic).clean();
        that(command.says("delete topic [" + topic + "] from cluster [" + cluster + "] success."), command.all());
        that(!admin("topicList").output().stream().map(String::trim).toList().contains(topic), topic + " still listed");
    }
}
