package ringmq.clients;

import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** The lite pull consumer, by subscription and by own assignment. Found by {@link Main} where the client has it. */
final class LitePullCases {
    private LitePullCases() { }

    static Map<String, Main.Case> all() {
        Map<String, Main.Case> cases = new LinkedHashMap<>();
        cases.put("lite_subscribe_and_restart", LitePullCases::subscribeAndRestart);
        cases.put("lite_subscribe_shared", LitePullCases::subscribeShared);
        cases.put("lite_subscribe_tags", LitePullCases::subscribeTags);
        cases.put("lite_subscribe_sql", LitePullCases::subscribeSql);
        cases.put("lite_pull_sql", LitePullCases::pullSql);
        cases.put("lite_assign_and_seek", LitePullCases::assignAndSeek);
        cases.put("lite_offset_for_timestamp", LitePullCases::offsetForTimestamp);
        return cases;
    }

    private static DefaultLitePullConsumer consumer(Scope scope) {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(scope.group);
        consumer.setNamesrvAddr(scope.environment.namesrv);
        consumer.setInstanceName(scope.instance());
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setPullThreadNums(2);
        consumer.setHeartbeatBrokerInterval(1_000); // see Scope.push
        consumer.setPollNameServerInterval(1_000);
        consumer.setAutoCommitIntervalMillis(1_000);
        scope.closeLater(consumer::shutdown);
        return consumer;
    }

    /** Polls until all that was sent has been seen, by this consumer or another. */
    private static void pollAll(Scope scope, String who, DefaultLitePullConsumer consumer) throws Exception {
        Expect.within(30, "all polled", () -> {
            consumer.poll(200).forEach(message -> scope.ledger.seen(who, message));
            return scope.ledger.missing() == 0;
        });
    }

    private static void subscribeAndRestart(Scope scope) throws Exception {
        scope.createTopic(4);
        scope.sendSync(60);
        DefaultLitePullConsumer before = consumer(scope);
        before.subscribe(scope.topic, "*");
        before.start();
        pollAll(scope, "before", before);
        before.poll(1_500); // polling drives the automatic commit
        Expect.within(25, "committed", () -> {
            before.poll(100);
            return scope.environment.committed(scope.group, scope.topic) == 60;
        });
        before.shutdown();
        scope.sendSync(40);
        DefaultLitePullConsumer after = consumer(scope);
        after.subscribe(scope.topic, "*");
        after.start();
        pollAll(scope, "after", after);
        Expect.equal(List.of(), after.poll(500), "messages once more");
        scope.ledger.checkExactlyOnce();
        Expect.equal(40L, scope.ledger.distinctSeenBy("after"), "messages of the second life");
    }

    private static void subscribeShared(Scope scope) throws Exception {
        scope.createTopic(4);
        DefaultLitePullConsumer first = consumer(scope);
        DefaultLitePullConsumer second = consumer(scope);
        for (DefaultLitePullConsumer each : List.of(first, second)) {
            each.subscribe(scope.topic, "*");
            each.start();
        }
        Expect.within(30, "two queues each", () -> {
            first.poll(50).forEach(message -> scope.ledger.seen("first", message));
            second.poll(50).forEach(message -> scope.ledger.seen("second", message));
            return first.assignment().size() == 2 && second.assignment().size() == 2;
        });
        scope.sendSync(80);
        Expect.within(30, "all polled", () -> {
            first.poll(100).forEach(message -> scope.ledger.seen("first", message));
            second.poll(100).forEach(message -> scope.ledger.seen("second", message));
            return scope.ledger.missing() == 0;
        });
        scope.ledger.checkExactlyOnce();
        Expect.equal(40L, scope.ledger.distinctSeenBy("first"), "share of the first");
    }

    private static void subscribeTags(Scope scope) throws Exception {
        scope.createTopic(2);
        Ledger others = new Ledger("unwanted");
        for (int i = 0; i < 30; i++) {
            Ledger ledger = i % 3 == 0 ? others : scope.ledger;
            Message message = ledger.message(scope.topic, "tag" + i % 3);
            ledger.sent(message, scope.producer().send(message));
        }
        DefaultLitePullConsumer consumer = consumer(scope);
        consumer.subscribe(scope.topic, "tag1 || tag2");
        consumer.start();
        pollAll(scope, "tags", consumer);
        Expect.equal(List.of(), consumer.poll(500), "unwanted messages");
        scope.ledger.checkExactlyOnce();
    }

    private static void assignAndSeek(Scope scope) throws Exception {
        scope.createTopic(3);
        scope.sendReadable(60); // round robin: 20 to each queue
        DefaultLitePullConsumer consumer = consumer(scope);
        consumer.setAutoCommit(false);
        consumer.start();
        Collection<MessageQueue> fetched = consumer.fetchMessageQueues(scope.topic);
        Expect.equal(3, fetched.size(), "queues");
        List<MessageQueue> queues = fetched.stream().sorted(Comparator.comparingInt(MessageQueue::getQueueId)).toList();
        List<MessageQueue> two = queues.subList(0, 2);
        consumer.assign(two);
        // A new group on a young topic begins at 0. Once all is polled, no answer with messages is under way that a seek
        // could be overtaken by: this client may hand out what it had asked for before.
        collect(scope, consumer, two.get(0), 0, 20, two.get(1), 0, 20);
        consumer.seek(two.get(0), 15);
        afterSeek(() -> consumer.seekToBegin(two.get(1)));
        collect(scope, consumer, two.get(0), 15, 20, two.get(1), 0, 20);

        consumer.commitSync(); // the polled positions
        for (MessageQueue queue : two) {
            long[] committed = {-1};
            Expect.within(10, "committed position of queue " + queue.getQueueId(), () -> {
                afterSeek(() -> committed[0] = consumer.committed(queue));
                return committed[0] == 20;
            });
        }

        afterSeek(() -> consumer.seekToEnd(two.get(0)));
        consumer.seek(two.get(1), 18);
        collect(scope, consumer, two.get(0), 20, 20, two.get(1), 18, 20);
    }

    private interface Call {
        void run() throws Exception;
    }

    /**
     * Makes a call that asks the broker something, soon after a seek. A seek interrupts the client's own pull thread; when that
     * happens just before the pull is sent, the client takes the interruption for a failed send and closes its connection,
     * with whatever else was in flight on it (NettyRemotingClient.invokeSync). Such a call is made again.
     */
    private static void afterSeek(Call call) throws Exception {
        for (int attempt = 1; ; attempt++) {
            try {
                call.run();
                return;
            } catch (org.apache.rocketmq.client.exception.MQClientException error) {
                if (attempt == 5 || !String.valueOf(error.getMessage()).contains("Invoke Broker")) {
                    throw error;
                }
            }
        }
    }

    /** Polls exactly the given stretches of two queues, in order. */
    private static void collect(Scope scope, DefaultLitePullConsumer consumer, MessageQueue a, long fromA, long toA, MessageQueue b, long fromB, long toB) throws Exception {
        long[] next = {fromA, fromB};
        Expect.within(20, "stretches polled", () -> {
            for (MessageExt message : consumer.poll(300)) {
                int which = message.getQueueId() == a.getQueueId() ? 0 : 1;
                Expect.that(Set.of(a.getQueueId(), b.getQueueId()).contains(message.getQueueId()), "queue not assigned: " + message.getQueueId());
                Expect.equal(next[which], message.getQueueOffset(), "offset of queue " + message.getQueueId());
                next[which]++;
            }
            return next[0] >= toA && next[1] >= toB;
        });
        Expect.equal(List.of(), consumer.poll(500), "messages past the end");
    }

    private static void offsetForTimestamp(Scope scope) throws Exception {
        scope.createTopic(1);
        scope.sendSync(5);
        Thread.sleep(50);
        scope.sendSync(5);
        long half = scope.readAll(scope.topic, 10).get(5).getStoreTimestamp();
        DefaultLitePullConsumer consumer = consumer(scope);
        consumer.start();
        MessageQueue queue = consumer.fetchMessageQueues(scope.topic).iterator().next();
        Expect.equal(5L, consumer.offsetForTimestamp(queue, half), "offset for a timestamp");
        Expect.equal(10L, consumer.offsetForTimestamp(queue, half + 3_600_000), "offset for a time to come");
    }

    private static void subscribeSql(Scope scope) throws Exception {
        scope.createTopic(2);
        Ledger others = new Ledger("unwanted");
        SqlFilterCases.send(scope, others, 0, 60);
        DefaultLitePullConsumer consumer = consumer(scope);
        consumer.subscribe(scope.topic, MessageSelector.bySql(SqlFilterCases.WANTED));
        consumer.start();
        pollAll(scope, "filtered", consumer);
        SqlFilterCases.send(scope, others, 60, 30);
        pollAll(scope, "filtered", consumer);
        Expect.equal(List.of(), consumer.poll(500), "messages that were not wanted");
        scope.ledger.checkExactlyOnce();
    }

    /** The plain pull consumer, which takes expressions from 4.4 on: statuses and next offsets, and what is refused. */
    private static void pullSql(Scope scope) throws Exception {
        scope.createTopic(1);
        SqlFilterCases.send(scope, new Ledger("unwanted"), 0, 12);
        scope.readAll(scope.topic, 12);
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(scope.group);
        consumer.setNamesrvAddr(scope.environment.namesrv);
        consumer.setInstanceName(scope.instance());
        consumer.setHeartbeatBrokerInterval(500);
        consumer.start();
        scope.closeLater(consumer::shutdown);
        MessageQueue queue = consumer.fetchSubscribeMessageQueues(scope.topic).iterator().next();
        // The client lets expressions out only when a heartbeat has told it the broker's version.
        Expect.within(20, "a heartbeat answered", () -> consumer.pull(queue, MessageSelector.bySql("TRUE"), 0, 1) != null);
        PullResult found = consumer.pull(queue, MessageSelector.bySql(SqlFilterCases.WANTED), 1, 32);
        Expect.equal(PullStatus.FOUND, found.getPullStatus(), "status");
        Expect.equal(List.of(2L, 6L, 8L), found.getMsgFoundList().stream().map(MessageExt::getQueueOffset).toList(), "offsets");
        Expect.equal(12L, found.getNextBeginOffset(), "next offset");
        PullResult none = consumer.pull(queue, MessageSelector.bySql("n > 100"), 3, 32);
        Expect.equal(PullStatus.NO_MATCHED_MSG, none.getPullStatus(), "status when nothing matches");
        Expect.equal(12L, none.getNextBeginOffset(), "next offset when nothing matches");
    }
}
