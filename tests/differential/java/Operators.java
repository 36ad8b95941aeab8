import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageQueue;

/** What Apache's admin client gets. */
final class Operators {
    private static final String TOPIC = "JavaAdmin" + Script.run;
    private static final String GROUP = "JavaAdminGroup" + Script.run;

    private Operators() { }

    static void run() throws Exception {
        Script.createTopic(TOPIC, 2);
        SendResult sent = null;
        for (int i = 0; i < 8; i++) {
            sent = Script.send(TOPIC, i % 2, "m" + i, "A");
        }
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(GROUP);
        consumer.setNamesrvAddr(Script.namesrv);
        consumer.setInstanceName(GROUP);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPersistConsumerOffsetInterval(200);
        // A client that rebalances during its first heartbeat skips the second one, and is told to heartbeat again until the next.
        consumer.setHeartbeatBrokerInterval(1_000);
        consumer.setPollNameServerInterval(1_000);
        consumer.subscribe(TOPIC, "*");
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> ConsumeConcurrentlyStatus.CONSUME_SUCCESS);
        consumer.start();
        Script.await(() -> committed().values().stream().mapToLong(Long::longValue).sum() == 8);
        Script.step("consume stats", Operators::committed);
        Script.step("total lag", () -> Script.admin.examineConsumeStats(GROUP, TOPIC).computeTotalDiff());
        Script.step("connections", () -> {
            var info = Script.admin.examineConsumerConnectionInfo(GROUP);
            return info.getConnectionSet().size() + " " + info.getConsumeType() + " " + info.getMessageModel() + " " + info.getConsumeFromWhere() + " "
                + new TreeSet<>(info.getSubscriptionTable().keySet());
        });
        String client = consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
        Script.step("running info", () -> {
            var info = Script.admin.getConsumerRunningInfo(GROUP, client, false);
            // Whether the retry queue has come yet is a matter of time.
            TreeSet<MessageQueue> queues = new TreeSet<>(info.getMqTable().keySet());
            queues.removeIf(queue -> !queue.getTopic().equals(TOPIC));
            return queues + " " + info.getSubscriptionSet().size() + " " + info.getStatusTable().keySet().size();
        });
        Script.step("running info of nobody", () -> Script.admin.getConsumerRunningInfo(GROUP, "nobody", false));
        String id = sent.getOffsetMsgId();
        Script.step("consume directly", () -> {
            var result = Script.admin.consumeMessageDirectly(GROUP, client, TOPIC, id);
            return result.getConsumeResult() + " " + result.isOrder() + " " + result.isAutoCommit();
        });
        Script.step("consumer status", () -> Script.admin.getConsumeStatus(TOPIC, GROUP, "").values().size());
        Script.step("who consumes", () -> new TreeSet<>(Script.admin.queryTopicConsumeByWho(TOPIC).getGroupList()));
        Script.step("topic stats", () -> {
            Map<String, String> queues = new TreeMap<>();
            Script.admin.examineTopicStats(TOPIC).getOffsetTable().forEach((queue, offset) ->
                queues.put(queue.toString(), offset.getMinOffset() + " to " + offset.getMaxOffset()));
            return queues;
        });
        Script.step("time spans", () -> Script.admin.queryConsumeTimeSpan(TOPIC, GROUP).size());
        consumer.shutdown();
        Script.step("reset to the beginning", () -> offsets(Script.admin.resetOffsetByTimestamp(TOPIC, GROUP, 0, true)));
        Script.step("stats after the reset", Operators::committed);
        Script.step("reset to the end", () -> offsets(Script.admin.resetOffsetByTimestamp(TOPIC, GROUP, System.currentTimeMillis() + 100_000, true)));
        Script.step("stats after the second reset", Operators::committed);
        Script.step("reset of an unknown topic", () -> offsets(Script.admin.resetOffsetByTimestamp("JavaAdminNowhere", GROUP, 0, true)));
        Script.step("clone", () -> {
            Script.admin.cloneGroupOffset(GROUP, GROUP + "-clone", TOPIC, true);
            return "done";
        });
        Script.step("group settings", () -> {
            var config = Script.admin.examineSubscriptionGroupConfig(Script.broker, GROUP);
            return config.getRetryMaxTimes() + " " + config.getRetryQueueNums() + " " + config.isConsumeEnable() + " " + config.isConsumeBroadcastEnable();
        });
        Script.step("delete the group", () -> {
            Script.admin.deleteSubscriptionGroup(Script.broker, GROUP, true);
            return "done";
        });
        Script.step("stats of the deleted group", Operators::committed);
        Script.step("unknown group online?", () -> Script.admin.examineConsumerConnectionInfo("JavaAdminNobody"));
        Script.step("producers", () -> Script.admin.examineProducerConnectionInfo("nobody", TOPIC));
    }

    private static Map<String, Long> committed() throws Exception {
        Map<String, Long> queues = new TreeMap<>();
        Script.admin.examineConsumeStats(GROUP, TOPIC).getOffsetTable().forEach((queue, offset) -> {
            if (queue.getTopic().equals(TOPIC)) {
                queues.put(queue.toString(), offset.getConsumerOffset());
            }
        });
        return queues;
    }

    private static Map<MessageQueue, Long> offsets(Map<MessageQueue, Long> offsets) {
        return new TreeMap<>(offsets);
    }
}
