package ringmq.clients;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Accounts for every message of one case by its body, which is unique: what was sent, how the broker answered, who
 * received it how often. Thread-safe.
 */
final class Ledger {
    /** One delivery of a message. */
    record Receipt(String who, MessageExt message, long nanos) { }

    private final String prefix;
    private final AtomicInteger next = new AtomicInteger();
    private final Map<String, Message> expected = new ConcurrentHashMap<>();
    private final Map<String, SendResult> answers = new ConcurrentHashMap<>();
    private final Map<String, List<Receipt>> receipts = new ConcurrentHashMap<>();
    private final List<Receipt> arrivals = new CopyOnWriteArrayList<>();

    Ledger(String prefix) {
        this.prefix = prefix;
    }

    /** A message that must arrive. */
    Message message(String topic, String tags) {
        int n = next.getAndIncrement();
        Message message = new Message(topic, tags, "key-" + n, bytes(prefix + "#" + n));
        expected.put(text(message.getBody()), message);
        return message;
    }

    List<Message> messages(String topic, int count) {
        List<Message> all = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            all.add(message(topic, "T"));
        }
        return all;
    }

    /** Notes the broker's answer, which must be SEND_OK. */
    void sent(Message message, SendResult result) {
        Expect.equal(SendStatus.SEND_OK, result.getSendStatus(), "send status of " + text(message.getBody()));
        answers.put(text(message.getBody()), result);
    }

    void seen(String who, MessageExt message) {
        Receipt receipt = new Receipt(who, message, System.nanoTime());
        receipts.computeIfAbsent(text(message.getBody()), k -> new CopyOnWriteArrayList<>()).add(receipt);
        arrivals.add(receipt);
    }

    /** Every delivery, in the order of arrival. */
    List<Receipt> arrivals() {
        return arrivals;
    }

    SendResult answer(Message message) {
        return answers.get(text(message.getBody()));
    }

    List<Receipt> receipts(Message message) {
        return receipts.getOrDefault(text(message.getBody()), List.of());
    }

    int expectedCount() {
        return expected.size();
    }

    long missing() {
        return expected.keySet().stream().filter(body -> !receipts.containsKey(body)).count();
    }

    long missingAt(String who) {
        return expected.keySet().stream().filter(body -> seenBy(body, who) == 0).count();
    }

    long seenBy(String body, String who) {
        return receipts.getOrDefault(body, List.of()).stream().filter(r -> r.who().equals(who)).count();
    }

    long distinctSeenBy(String who) {
        return receipts.keySet().stream().filter(body -> seenBy(body, who) > 0).count();
    }

    int duplicates() {
        return arrivals.size() - receipts.size();
    }

    void awaitAll(int seconds) throws Exception {
        try {
            Expect.within(seconds, "all " + expected.size() + " messages received", () -> missing() == 0);
        } catch (AssertionError e) {
            String some = expected.keySet().stream().filter(b -> !receipts.containsKey(b)).sorted().limit(5).toList().toString();
            throw new AssertionError(e.getMessage() + "; missing " + missing() + ", e.g. " + some, e);
        }
    }

    /** Everything received was sent, is whole, and lies where the broker said it would. */
    void checkContents() {
        receipts.forEach((body, list) -> {
            Message original = expected.get(body);
            Expect.that(original != null, "received what was not sent: " + body);
            SendResult answer = answers.get(body);
            for (Receipt receipt : list) {
                MessageExt got = receipt.message();
                Expect.equal(original.getTopic(), got.getTopic(), "topic of " + body);
                Expect.equal(original.getKeys(), got.getKeys(), "keys of " + body);
                Expect.equal(original.getTags(), got.getTags(), "tags of " + body);
                if (answer == null) {
                    continue; // one-way, or batch where one answer covers many
                }
                Expect.equal(answer.getMsgId(), got.getMsgId(), "msgId of " + body);
                if (got.getReconsumeTimes() == 0 && !answer.getOffsetMsgId().contains(",")) {
                    Expect.equal(answer.getMessageQueue().getQueueId(), got.getQueueId(), "queue of " + body);
                    Expect.equal(answer.getQueueOffset(), got.getQueueOffset(), "queue offset of " + body);
                    Expect.equal(answer.getOffsetMsgId(), ((MessageClientExt) got).getOffsetMsgId(), "offset msgId of " + body);
                }
            }
        });
    }

    void checkExactlyOnce() {
        checkContents();
        Expect.equal(0L, missing(), "missing messages");
        receipts.forEach((body, list) -> Expect.equal(1, list.size(), "deliveries of " + body));
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] body) {
        return new String(body, StandardCharsets.UTF_8);
    }
}
