package ringmq.clients;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Every way to send; what the broker answered must be what a reader finds. */
final class SendCases {
    private SendCases() { }

    static Map<String, Main.Case> all() {
        Map<String, Main.Case> cases = new LinkedHashMap<>();
        cases.put("send_sync", SendCases::sync);
        cases.put("send_sync_threads", SendCases::syncThreads);
        cases.put("send_async", SendCases::async);
        cases.put("send_oneway", SendCases::oneway);
        cases.put("send_batch", SendCases::batch);
        cases.put("send_selector", SendCases::selector);
        cases.put("send_to_queue", SendCases::toQueue);
        cases.put("send_auto_created_topic", SendCases::autoCreatedTopic);
        cases.put("send_compressed", SendCases::compressed);
        cases.put("send_sizes", SendCases::sizes);
        cases.put("send_properties", SendCases::properties);
        return cases;
    }

    private static void sync(Scope scope) throws Exception {
        scope.createTopic(4);
        scope.sendSync(40);
        scope.readBackExactlyOnce();
        Set<String> ids = new HashSet<>();
        Set<Integer> queues = new HashSet<>();
        for (MessageExt message : scope.readAll(scope.topic)) {
            ids.add(message.getMsgId());
            queues.add(message.getQueueId());
        }
        Expect.equal(40, ids.size(), "distinct message ids");
        Expect.equal(4, queues.size(), "queues used in turn");
    }

    private static void syncThreads(Scope scope) throws Exception {
        scope.createTopic(3);
        List<Thread> threads = new ArrayList<>();
        AtomicReference<Throwable> failure = new AtomicReference<>();
        for (int t = 0; t < 8; t++) {
            Thread thread = new Thread(() -> {
                try {
                    scope.sendSync(50);
                } catch (Throwable e) {
                    failure.set(e);
                }
            });
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) {
            thread.join();
        }
        Expect.equal(null, failure.get(), "failure of a sender");
        scope.readBackExactlyOnce();
    }

    private static void async(Scope scope) throws Exception {
        scope.createTopic(4);
        int count = 300;
        CountDownLatch answered = new CountDownLatch(count);
        AtomicReference<Throwable> failure = new AtomicReference<>();
        for (Message message : scope.ledger.messages(scope.topic, count)) {
            scope.producer().send(message, new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    try {
                        scope.ledger.sent(message, result);
                    } catch (Throwable e) {
                        failure.set(e);
                    }
                    answered.countDown();
                }

                @Override
                public void onException(Throwable e) {
                    failure.set(e);
                    answered.countDown();
                }
            });
        }
        Expect.that(answered.await(20, TimeUnit.SECONDS), "callbacks missing: " + answered.getCount());
        Expect.equal(null, failure.get(), "failure of an asynchronous send");
        scope.readBackExactlyOnce();
    }

    private static void oneway(Scope scope) throws Exception {
        scope.createTopic(4);
        for (Message message : scope.ledger.messages(scope.topic, 100)) {
            scope.producer().sendOneway(message);
        }
        scope.readBackExactlyOnce();
    }

    private static void batch(Scope scope) throws Exception {
        scope.createTopic(4);
        for (int round = 0; round < 5; round++) {
            List<Message> messages = scope.ledger.messages(scope.topic, 12);
            messages.get(3).putUserProperty("place", "third");
            SendResult result = scope.producer().send(messages);
            Expect.equal(SendStatus.SEND_OK, result.getSendStatus(), "status of a batch");
            Expect.equal(12, result.getOffsetMsgId().split(",").length, "offset message ids of a batch");
            List<MessageExt> stored = scope.readAll(scope.topic, scope.ledger.expectedCount()).stream()
                .filter(m -> m.getQueueId() == result.getMessageQueue().getQueueId() && m.getQueueOffset() >= result.getQueueOffset())
                .toList();
            Expect.equal(12, stored.size(), "messages from the answered offset on");
            Set<String> ids = new HashSet<>(Arrays.asList(result.getMsgId().split(",")));
            for (int i = 0; i < 12; i++) {
                Expect.equal(Ledger.text(messages.get(i).getBody()), Ledger.text(stored.get(i).getBody()), "order in a batch");
                Expect.that(ids.contains(stored.get(i).getMsgId()), "message id of the batch answer");
            }
            Expect.equal("third", stored.get(3).getUserProperty("place"), "property in a batch");
        }
        scope.readBackExactlyOnce();
    }

    private static void selector(Scope scope) throws Exception {
        scope.createTopic(5);
        for (int order = 0; order < 40; order++) {
            Message message = scope.ledger.message(scope.topic, "T");
            SendResult result = scope.producer().send(message, (queues, m, key) -> {
                Expect.equal(5, queues.size(), "queues offered to the selector");
                return queues.get((Integer) key % queues.size());
            }, order);
            scope.ledger.sent(message, result);
            Expect.equal(order % 5, result.getMessageQueue().getQueueId(), "queue chosen by the selector");
        }
        scope.readBackExactlyOnce();
    }

    private static void toQueue(Scope scope) throws Exception {
        scope.createTopic(3);
        List<MessageQueue> queues = scope.producer().fetchPublishMessageQueues(scope.topic);
        Expect.equal(3, queues.size(), "queues of the route");
        for (int i = 0; i < 10; i++) {
            for (MessageQueue queue : queues) {
                Message message = scope.ledger.message(scope.topic, "T");
                SendResult result = scope.producer().send(message, queue);
                scope.ledger.sent(message, result);
                Expect.equal(queue, result.getMessageQueue(), "queue of the answer");
                Expect.equal((long) i, result.getQueueOffset(), "offset in " + queue);
            }
        }
        scope.readBackExactlyOnce();
    }

    private static void autoCreatedTopic(Scope scope) throws Exception {
        scope.sendSync(20);
        Expect.within(10, "the new topic has the client's 4 queues", () ->
            scope.environment.admin.examineTopicRouteInfo(scope.topic).getQueueDatas().get(0).getWriteQueueNums() == 4);
        scope.readBackExactlyOnce();
    }

    private static void compressed(Scope scope) throws Exception {
        scope.createTopic(1);
        byte[] body = "the same words again and again; ".repeat(4096).getBytes();
        Message message = new Message(scope.topic, "T", "big", body);
        Expect.equal(SendStatus.SEND_OK, scope.producer().send(message).getSendStatus(), "status");
        List<MessageExt> stored = scope.readAll(scope.topic, 1);
        Expect.equal(1, stored.size(), "messages");
        Expect.that(Arrays.equals(body, stored.get(0).getBody()), "body after decompression");
        Expect.that(stored.get(0).getStoreSize() < body.length / 10, "stored compressed, but takes " + stored.get(0).getStoreSize());
    }

    private static void sizes(Scope scope) throws Exception {
        scope.createTopic(1);
        Random random = new Random(5);
        // Random bytes grow a little when the client compresses them, so the largest stays below the broker's 4 MiB.
        int[] sizes = {1, 17, 4095, 4096, 4097, 65_535, 65_536, 1 << 20, (4 << 20) - 8192};
        List<byte[]> bodies = new ArrayList<>();
        for (int size : sizes) {
            byte[] body = new byte[size];
            random.nextBytes(body);
            bodies.add(body);
            Expect.equal(SendStatus.SEND_OK, scope.producer().send(new Message(scope.topic, "T", "", body)).getSendStatus(), "status of " + size + " bytes");
        }
        List<MessageExt> stored = scope.readAll(scope.topic, sizes.length);
        Expect.equal(sizes.length, stored.size(), "messages");
        for (int i = 0; i < sizes.length; i++) {
            Expect.that(Arrays.equals(bodies.get(i), stored.get(i).getBody()), "body of " + sizes[i] + " bytes");
        }
    }

    private static void properties(Scope scope) throws Exception {
        scope.createTopic(1);
        long before = System.currentTimeMillis();
        Message message = new Message(scope.topic, "Größe", "first second", 77, "grüße, 世界".getBytes("UTF-8"), true);
        message.putUserProperty("colour", "bleu clair");
        message.putUserProperty("世", "界");
        message.putUserProperty("quote", "\"{'a':[1,2]}\"");
        message.setBuyerId("buyer");
        SendResult result = scope.producer().send(message);
        long after = System.currentTimeMillis();
        Expect.equal(SendStatus.SEND_OK, result.getSendStatus(), "status");
        MessageExt stored = scope.readAll(scope.topic, 1).get(0);
        Expect.equal("grüße, 世界", Ledger.text(stored.getBody()), "body");
        Expect.equal("Größe", stored.getTags(), "tags");
        Expect.equal("first second", stored.getKeys(), "keys");
        Expect.equal("bleu clair", stored.getUserProperty("colour"), "user property");
        Expect.equal("界", stored.getUserProperty("世"), "user property in Chinese");
        Expect.equal("\"{'a':[1,2]}\"", stored.getUserProperty("quote"), "user property with quotes");
        Expect.equal("buyer", stored.getBuyerId(), "buyer");
        Expect.equal(77, stored.getFlag(), "flag");
        Expect.equal(result.getMsgId(), stored.getMsgId(), "msgId");
        Expect.equal(0, stored.getReconsumeTimes(), "reconsume times");
        Expect.equal(0L, stored.getQueueOffset(), "queue offset");
        Expect.that(stored.getBornTimestamp() >= before && stored.getBornTimestamp() <= after, "born at " + stored.getBornTimestamp());
        Expect.that(stored.getStoreTimestamp() >= before - 1000 && stored.getStoreTimestamp() <= after + 1000, "stored at " + stored.getStoreTimestamp());
        Expect.that(scope.environment.masters().contains(stored.getStoreHost().toString().replaceFirst("^[^/]*/", "")),
            "store host " + stored.getStoreHost() + " is one of " + scope.environment.masters());
        Expect.that(stored.getBornHostString() != null && !stored.getBornHostString().isEmpty(), "born host");
    }
}
