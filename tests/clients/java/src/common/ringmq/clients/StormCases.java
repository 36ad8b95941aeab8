package ringmq.clients;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.rocketmq.client.consumer.AllocateMessageQueueStrategy;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/** A group whose members join and leave all the time, while messages come. */
final class StormCases {
    private static final int MEMBERS_MAX = 20;
    private static final int MEMBERS_MIN = 4;
    /** More than members, so that all of them have something in the end and not all have the same number. */
    private static final int QUEUES = 24;
    private static final int STORM_SECONDS = System.getenv("RINGMQ_LONG") == null ? 15 : 120;
    /** The storm's order of events; another seed gives another order. */
    private static final long SEED = 20;
    /** Clients commit what they have consumed with pulls, when they give a queue up, and every 5 s, first after 10 s. */
    private static final int COMMITS_WITHIN_SECONDS = 15;

    private StormCases() { }

    static Map<String, Main.Case> all() {
        Map<String, Main.Case> cases = new LinkedHashMap<>();
        cases.put("push_rebalance_storm", StormCases::storm);
        return cases;
    }

    /** What the client's rebalancing gave a member, and when. */
    private record Allocation(long nanos, Set<Integer> queues) { }

    /** A member with the history of its queues. */
    private static final class Member implements AllocateMessageQueueStrategy {
        private final AllocateMessageQueueStrategy averagely = new AllocateMessageQueueAveragely();
        private final List<Allocation> history = new CopyOnWriteArrayList<>();
        private final String topic;
        final String name;
        final DefaultMQPushConsumer consumer;

        Member(Scope scope, int number) throws Exception {
            topic = scope.topic;
            name = "member-" + number;
            consumer = scope.push();
            consumer.setAllocateMessageQueueStrategy(this);
            consumer.setConsumeThreadMin(1);
            consumer.setConsumeThreadMax(1);
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener(PushCases.recording(scope.ledger, name));
            consumer.start();
        }

        @Override
        public List<MessageQueue> allocate(String group, String clientId, List<MessageQueue> queues, List<String> clientIds) {
            List<MessageQueue> mine = averagely.allocate(group, clientId, queues, clientIds);
            if (queues.get(0).getTopic().equals(topic)) {
                Set<Integer> ids = new HashSet<>();
                mine.forEach(queue -> ids.add(queue.getQueueId()));
                history.add(new Allocation(System.nanoTime(), ids));
            }
            return mine;
        }

        @Override
        public String getName() {
            return "AVG";
        }

        /** Whether there was a moment in between at which the queue was not among those it had been given last. */
        boolean lacked(int queue, long from, long to) {
            for (int i = 0; i < history.size(); i++) {
                long end = i + 1 < history.size() ? history.get(i + 1).nanos() : Long.MAX_VALUE;
                if (!history.get(i).queues().contains(queue) && history.get(i).nanos() < to && end > from) {
                    return true;
                }
            }
            return false;
        }

        /** Since when it has the queue without interruption, seen from a moment; {@code null}: it has not. */
        Long heldSince(int queue, long at) {
            Long since = null;
            for (Allocation allocation : history) {
                if (allocation.nanos() > at) {
                    break;
                }
                boolean has = allocation.queues().contains(queue);
                since = !has ? null : since == null ? Long.valueOf(allocation.nanos()) : since;
            }
            return since;
        }
    }

    private static void storm(Scope scope) throws Exception {
        scope.createTopic(QUEUES);
        AtomicBoolean isOver = new AtomicBoolean();
        Thread sender = new Thread(() -> sendUntil(scope, isOver));
        Map<String, Member> everyone = new LinkedHashMap<>();
        List<Member> members = new ArrayList<>();
        Random random = new Random(SEED);
        sender.start();
        try {
            long end = System.nanoTime() + STORM_SECONDS * 1_000_000_000L;
            int changes = 0;
            while (System.nanoTime() < end) {
                boolean joins = members.size() <= MEMBERS_MIN || members.size() < MEMBERS_MAX && random.nextBoolean();
                if (joins) {
                    members.add(join(scope, everyone));
                } else {
                    members.remove(random.nextInt(members.size())).consumer.shutdown();
                }
                changes++;
                Thread.sleep(random.nextInt(300));
            }
            while (members.size() < MEMBERS_MAX) {
                members.add(join(scope, everyone));
            }
            awaitBalanced(scope, members);
            isOver.set(true);
            sender.join();
            scope.ledger.awaitAll(60);
            System.out.println("push_rebalance_storm: " + changes + " joined or left, " + scope.ledger.expectedCount() + " messages, "
                + scope.ledger.duplicates() + " delivered again");
        } finally {
            isOver.set(true);
            sender.join();
        }
        scope.ledger.checkContents();
        explainDuplicates(scope, everyone);
        // Close to nothing would mean that nobody was there to receive again what others had: then the storm was none.
        Expect.that(scope.ledger.expectedCount() > STORM_SECONDS * 10, "enough was sent: " + scope.ledger.expectedCount());
    }

    private static Member join(Scope scope, Map<String, Member> everyone) throws Exception {
        Member member = new Member(scope, everyone.size());
        everyone.put(member.name, member);
        return member;
    }

    private static void sendUntil(Scope scope, AtomicBoolean isOver) {
        try {
            while (!isOver.get()) {
                Message message = scope.ledger.message(scope.topic, "T");
                scope.ledger.sent(message, scope.producer().send(message));
                Thread.sleep(10);
            }
        } catch (Exception e) {
            // The message is in the ledger and will be missed.
            e.printStackTrace();
        }
    }

    /** Every queue has one holder, and nobody has more than one queue more than another. */
    private static void awaitBalanced(Scope scope, List<Member> members) throws Exception {
        Expect.within(60, QUEUES + " queues shared evenly by " + members.size(), () -> {
            Set<MessageQueue> union = new HashSet<>();
            int sum = 0;
            for (Member member : members) {
                Set<MessageQueue> held = scope.held(member.consumer);
                if (held.size() < QUEUES / MEMBERS_MAX || held.size() > (QUEUES + MEMBERS_MAX - 1) / MEMBERS_MAX) {
                    return false;
                }
                union.addAll(held);
                sum += held.size();
            }
            return sum == QUEUES && union.size() == QUEUES;
        });
    }

    /**
     * A message may come again only because its queue went to another member before the offset did. So each repeated delivery is to
     * another member, or to the same one after it had lacked the queue; and the message had been consumed so shortly before the queue
     * changed hands that its offset need not have been committed. A member that keeps its queue sees every message once.
     */
    private static void explainDuplicates(Scope scope, Map<String, Member> everyone) {
        Map<String, Ledger.Receipt> lastAtMember = new LinkedHashMap<>();
        Map<String, Ledger.Receipt> last = new LinkedHashMap<>();
        for (Ledger.Receipt receipt : scope.ledger.arrivals()) {
            String text = Ledger.text(receipt.message().getBody());
            int queue = receipt.message().getQueueId();
            Member member = everyone.get(receipt.who());
            Ledger.Receipt before = lastAtMember.put(receipt.who() + " " + text, receipt);
            if (before != null) {
                Expect.that(member.lacked(queue, before.nanos(), receipt.nanos()),
                    text + " came twice to " + receipt.who() + ", which had queue " + queue + " all the time");
            }
            before = last.put(text, receipt);
            Long since = member.heldSince(queue, receipt.nanos());
            if (before != null && since != null) {
                long late = (since - before.nanos()) / 1_000_000_000L;
                Expect.that(late < COMMITS_WITHIN_SECONDS, text + " came to " + receipt.who() + " again, " + late + " s after "
                    + before.who() + " had it and " + receipt.who() + " got queue " + queue);
            }
        }
    }
}
