package ringmq.clients;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullCallback;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** The plain pull consumer: the four statuses with their next offsets, waiting pulls, offsets, search by time. */
final class PullCases {
    private PullCases() { }

    static Map<String, Main.Case> all() {
        Map<String, Main.Case> cases = new LinkedHashMap<>();
        cases.put("pull_statuses", PullCases::statuses);
        cases.put("pull_statuses_empty_queue", PullCases::emptyQueue);
        cases.put("pull_filtered", PullCases::filtered);
        cases.put("pull_limits", PullCases::limits);
        cases.put("pull_waits_for_message", PullCases::waitsForMessage);
        cases.put("pull_wait_ends", PullCases::waitEnds);
        cases.put("pull_async", PullCases::async);
        cases.put("pull_committed_offsets", PullCases::committedOffsets);
        cases.put("pull_search_by_time", PullCases::searchByTime);
        return cases;
    }

    private static MessageQueue onlyQueue(Scope scope, DefaultMQPullConsumer consumer) throws Exception {
        Set<MessageQueue> queues = consumer.fetchSubscribeMessageQueues(scope.topic);
        Expect.equal(1, queues.size(), "queues");
        return queues.iterator().next();
    }

    /** One helper per check of an answer: status, next offset, bounds, how many. */
    private static void check(PullResult result, PullStatus status, long next, long min, long max, int found, String what) {
        Expect.equal(status, result.getPullStatus(), "status of " + what);
        Expect.equal(next, result.getNextBeginOffset(), "next offset of " + what);
        Expect.equal(min, result.getMinOffset(), "min offset of " + what);
        Expect.equal(max, result.getMaxOffset(), "max offset of " + what);
        Expect.equal(found, result.getMsgFoundList() == null ? 0 : result.getMsgFoundList().size(), "messages of " + what);
    }

    private static void statuses(Scope scope) throws Exception {
        scope.createTopic(1);
        scope.sendReadable(30);
        DefaultMQPullConsumer consumer = scope.pull(scope.group);
        MessageQueue queue = onlyQueue(scope, consumer);
        Expect.equal(0L, consumer.minOffset(queue), "min offset");
        Expect.equal(30L, consumer.maxOffset(queue), "max offset");
        check(consumer.pull(queue, "*", 0, 10), PullStatus.FOUND, 10, 0, 30, 10, "a pull at 0");
        check(consumer.pull(queue, "*", 25, 10), PullStatus.FOUND, 30, 0, 30, 5, "a pull at 25");
        check(consumer.pull(queue, "*", 30, 10), PullStatus.NO_NEW_MSG, 30, 0, 30, 0, "a pull at the end");
        check(consumer.pull(queue, "*", 31, 10), PullStatus.OFFSET_ILLEGAL, 30, 0, 30, 0, "a pull one past the end");
        check(consumer.pull(queue, "*", 1_000_000, 10), PullStatus.OFFSET_ILLEGAL, 30, 0, 30, 0, "a pull far past the end");
        check(consumer.pull(queue, "nothing", 0, 10), PullStatus.NO_MATCHED_MSG, 30, 0, 30, 0, "a pull with a tag that no message has");
        for (MessageExt message : consumer.pull(queue, "*", 3, 1).getMsgFoundList()) {
            Expect.equal(scope.name + "#3", Ledger.text(message.getBody()), "body at offset 3");
        }
        scope.readBackExactlyOnce();
    }

    private static void emptyQueue(Scope scope) throws Exception {
        scope.createTopic(1);
        DefaultMQPullConsumer consumer = scope.pull(scope.group);
        MessageQueue queue = onlyQueue(scope, consumer);
        Expect.equal(0L, consumer.maxOffset(queue), "max offset");
        PullResult atStart = consumer.pull(queue, "*", 0, 10);
        Expect.equal(PullStatus.NO_NEW_MSG, atStart.getPullStatus(), "status at 0");
        Expect.equal(0L, atStart.getNextBeginOffset(), "next offset at 0");
        PullResult beyond = consumer.pull(queue, "*", 5, 10);
        Expect.equal(PullStatus.OFFSET_ILLEGAL, beyond.getPullStatus(), "status at 5");
        Expect.equal(0L, beyond.getNextBeginOffset(), "next offset at 5");
        Expect.equal(0L, consumer.searchOffset(queue, System.currentTimeMillis()), "search by time");
    }

    private static void filtered(Scope scope) throws Exception {
        scope.createTopic(1);
        // 0..9: A, B, none, A, B, none, …
        String[] tags = {"A", "B", null};
        for (int i = 0; i < 10; i++) {
            Message message = scope.ledger.message(scope.topic, tags[i % 3]);
            scope.ledger.sent(message, scope.producer().send(message));
        }
        scope.readAll(scope.topic, 10);
        DefaultMQPullConsumer consumer = scope.pull(scope.group);
        MessageQueue queue = onlyQueue(scope, consumer);
        check(consumer.pull(queue, "A", 0, 10), PullStatus.FOUND, 10, 0, 10, 4, "tag A");
        check(consumer.pull(queue, "A || B", 0, 10), PullStatus.FOUND, 10, 0, 10, 7, "tags A || B");
        check(consumer.pull(queue, "B", 8, 10), PullStatus.NO_MATCHED_MSG, 10, 0, 10, 0, "tag B from 8 on");
        check(consumer.pull(queue, "*", 2, 1), PullStatus.FOUND, 3, 0, 10, 1, "one without a tag");
        List<Long> offsets = consumer.pull(queue, "B||A", 0, 32).getMsgFoundList().stream().map(MessageExt::getQueueOffset).toList();
        Expect.equal(List.of(0L, 1L, 3L, 4L, 6L, 7L, 9L), offsets, "offsets of A and B");
    }

    /** However much is asked for, an answer is a run of messages from the asked offset; following it reads all. */
    private static void limits(Scope scope) throws Exception {
        scope.createTopic(1);
        List<Message> messages = new ArrayList<>();
        for (int i = 0; i < 100; i++) {
            Message message = new Message(scope.topic, "T", "k" + i, new byte[30_000]);
            message.getBody()[7] = (byte) i;
            messages.add(message);
            scope.producer().send(message);
        }
        scope.readAll(scope.topic, 100);
        DefaultMQPullConsumer consumer = scope.pull(scope.group);
        MessageQueue queue = onlyQueue(scope, consumer);
        long offset = 0;
        int pulls = 0;
        while (offset < 100) {
            PullResult result = consumer.pull(queue, "*", offset, 1000);
            Expect.equal(PullStatus.FOUND, result.getPullStatus(), "status at " + offset);
            Expect.that(result.getMsgFoundList().size() <= 1000, "no more than asked for");
            for (MessageExt message : result.getMsgFoundList()) {
                Expect.equal("k" + offset, message.getKeys(), "keys at " + offset);
                Expect.equal((byte) offset, message.getBody()[7], "body at " + offset);
                offset++;
            }
            Expect.equal(offset, result.getNextBeginOffset(), "next offset");
            pulls++;
        }
        Expect.that(pulls <= 100, "progress with each pull");
    }

    private static void waitsForMessage(Scope scope) throws Exception {
        scope.createTopic(1);
        scope.sendReadable(3);
        DefaultMQPullConsumer consumer = scope.pull(scope.group);
        MessageQueue queue = onlyQueue(scope, consumer);
        CompletableFuture<PullResult> waiting = CompletableFuture.supplyAsync(() -> {
            try {
                return consumer.pullBlockIfNotFound(queue, "*", 3, 10);
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        }, command -> new Thread(command).start());
        Thread.sleep(1_500);
        Expect.that(!waiting.isDone(), "the pull waits while there is nothing");
        long sent = System.nanoTime();
        scope.sendSync(1);
        PullResult result = waiting.get(10, TimeUnit.SECONDS);
        long millis = (System.nanoTime() - sent) / 1_000_000;
        check(result, PullStatus.FOUND, 4, 0, 4, 1, "the woken pull");
        Expect.equal(scope.name + "#3", Ledger.text(result.getMsgFoundList().get(0).getBody()), "body");
        Expect.that(millis < 2_000, "woken by the message, took " + millis + " ms");
    }

    private static void waitEnds(Scope scope) throws Exception {
        scope.createTopic(1);
        scope.sendReadable(2);
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(scope.group);
        consumer.setNamesrvAddr(scope.environment.namesrv);
        consumer.setInstanceName(scope.instance());
        consumer.setBrokerSuspendMaxTimeMillis(3_000);
        consumer.start();
        scope.closeLater(consumer::shutdown);
        MessageQueue queue = onlyQueue(scope, consumer);
        long start = System.nanoTime();
        PullResult result = consumer.pullBlockIfNotFound(queue, "*", 2, 10);
        long millis = (System.nanoTime() - start) / 1_000_000;
        check(result, PullStatus.NO_NEW_MSG, 2, 0, 2, 0, "the pull that waited in vain");
        // The reference looks every 5 s, so a hold of 3 s may take 8.
        Expect.that(millis >= 2_900 && millis < 9_500, "held for 3 s, was " + millis + " ms");
    }

    private static void async(Scope scope) throws Exception {
        scope.createTopic(1);
        scope.sendReadable(5);
        DefaultMQPullConsumer consumer = scope.pull(scope.group);
        MessageQueue queue = onlyQueue(scope, consumer);
        CompletableFuture<PullResult> answer = new CompletableFuture<>();
        consumer.pull(queue, "*", 1, 3, new PullCallback() {
            @Override
            public void onSuccess(PullResult result) {
                answer.complete(result);
            }

            @Override
            public void onException(Throwable e) {
                answer.completeExceptionally(e);
            }
        });
        check(answer.get(10, TimeUnit.SECONDS), PullStatus.FOUND, 4, 0, 5, 3, "the asynchronous pull");
    }

    private static void committedOffsets(Scope scope) throws Exception {
        scope.createTopic(1);
        scope.sendReadable(20);
        DefaultMQPullConsumer consumer = scope.pull(scope.group);
        MessageQueue queue = onlyQueue(scope, consumer);
        consumer.pull(queue, "*", 0, 10); // makes the group known to the broker
        for (long offset : new long[] {10, 17, 4}) { // also backwards
            consumer.updateConsumeOffset(queue, offset);
            consumer.getDefaultMQPullConsumerImpl().getOffsetStore().persistAll(Set.of(queue));
            Expect.within(10, "offset " + offset + " at the broker", () -> consumer.fetchConsumeOffset(queue, true) == offset);
        }
        DefaultMQPullConsumer other = scope.pull(scope.group);
        Expect.equal(4L, other.fetchConsumeOffset(queue, true), "offset seen by another client of the group");
    }

    private static void searchByTime(Scope scope) throws Exception {
        scope.createTopic(1);
        long start = System.currentTimeMillis();
        scope.sendSync(5);
        Thread.sleep(50);
        scope.sendSync(5);
        List<MessageExt> stored = scope.readAll(scope.topic, 10);
        DefaultMQPullConsumer consumer = scope.pull(scope.group);
        MessageQueue queue = onlyQueue(scope, consumer);
        Expect.equal(0L, consumer.searchOffset(queue, start - 3_600_000), "long before the first");
        Expect.equal(10L, consumer.searchOffset(queue, System.currentTimeMillis() + 3_600_000), "long after the last");
        // 50 ms lie between the two halves: one millisecond before the second half's first there is nothing.
        long half = stored.get(5).getStoreTimestamp();
        Expect.equal(5L, consumer.searchOffset(queue, half), "the time of the sixth");
        Expect.equal(5L, consumer.searchOffset(queue, half - 1), "just before the sixth");
        Expect.equal(5L, consumer.searchOffset(queue, stored.get(4).getStoreTimestamp() + 1), "just after the fifth");
    }
}
