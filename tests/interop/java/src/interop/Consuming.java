package interop;

import static interop.Report.await;
import static interop.Report.require;
import static interop.Report.same;
import static interop.Report.sameElements;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;

/** Push consumers: sharing queues, tag filters, broadcasting, order. */
final class Consuming {
    private Consuming() {
    }

    private static void awaitShares(String topic, DefaultMQPushConsumer one,
        DefaultMQPushConsumer other) {
        await("two queues for each of two consumers", 30,
            () -> Clients.queuesHeld(one, topic) == 2 && Clients.queuesHeld(other, topic) == 2);
    }

    private static MessageListenerConcurrently into(Queue<String> received) {
        return (messages, context) -> {
            messages.forEach(m -> received.add(Clients.body(m)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
    }

    private static DefaultMQPushConsumer startMember(Clients clients, String topic,
        String expression,
        Queue<String> received) throws Exception {
        DefaultMQPushConsumer consumer = clients.pushConsumer("consume-group");
        consumer.subscribe(topic, expression);
        consumer.registerMessageListener(into(received));
        consumer.start();
        return consumer;
    }

    /** Sends {@code each} messages per tag A, B and C; returns the bodies of A and B. */
    private static List<String> sendTagged(DefaultMQProducer producer, String topic, String wave,
        int each)
        throws Exception {
        List<String> wanted = new ArrayList<>();
        for (int i = 0; i < each; i++) {
            for (String tag : List.of("A", "B", "C")) {
                String body = wave + "-" + tag + "-" + i;
                producer.send(Clients.message(topic, tag, body));
                if (!tag.equals("C")) {
                    wanted.add(body);
                }
            }
        }
        return wanted;
    }

    static void consume(Clients clients, Report report) throws Exception {
        String topic = clients.createTopic("consume");
        Queue<String> first = new ConcurrentLinkedQueue<>();
        Queue<String> second = new ConcurrentLinkedQueue<>();
        DefaultMQPushConsumer one = startMember(clients, topic, "A || B", first);
        DefaultMQPushConsumer two = startMember(clients, topic, "A || B", second);

        report.check("consume-rebalance", () -> {
            awaitShares(topic, one, two);
            return "2 consumers, 2 queues each";
        });
        report.check("consume-tags", () -> {
            List<String> wanted = sendTagged(clients.producer(), topic, "early", 40);
            // A rebalance raises the client's subscription version and reports it in a heartbeat
            // that is skipped when another one is under way; pulls are then refused (code 25) until
            // the next heartbeat, 30 s later. Apache's broker does the same.
            await("80 messages", 45, () -> first.size() + second.size() >= wanted.size());
            List<String> received = new ArrayList<>(first);
            received.addAll(second);
            sameElements("received", wanted, received);
            require(!first.isEmpty() && !second.isEmpty(), "shares %d and %d", first.size(),
                second.size());
            return "each of 80 once, shares " + first.size() + " and " + second.size();
        });
        report.check("consume-takeover", () -> {
            two.shutdown();
            await("all queues with the remaining consumer", 30,
                () -> Clients.queuesHeld(one, topic) == Clients.QUEUES);
            first.clear();
            List<String> wanted = sendTagged(clients.producer(), topic, "late", 20);
            await("40 messages",
                () -> first.stream().filter(b -> b.startsWith("late")).count() >= wanted.size());
            List<String> received = new ArrayList<>(first);
            received.removeIf(b -> !b.startsWith("late"));
            sameElements("received", wanted, received);
            return "each of 40 once after one consumer left";
        });
    }

    static void broadcast(Clients clients, Report report) throws Exception {
        String topic = clients.createTopic("broadcast");
        List<Queue<String>> received = List.of(new ConcurrentLinkedQueue<>(),
            new ConcurrentLinkedQueue<>());
        for (Queue<String> queue : received) {
            DefaultMQPushConsumer consumer = clients.pushConsumer("broadcast-group");
            Clients.broadcast(consumer);
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener(into(queue));
            consumer.start();
        }
        report.check("broadcast", () -> {
            List<String> sent = new ArrayList<>();
            for (int i = 0; i < 40; i++) {
                sent.add("broadcast-" + i);
                clients.producer().send(Clients.message(topic, "A", "broadcast-" + i));
            }
            for (Queue<String> queue : received) {
                await("40 messages for each consumer", 60, () -> queue.size() >= sent.size());
                sameElements("received", sent, queue);
            }
            return "2 consumers, 40 messages each";
        });
    }

    /**
     * Sequences of steps, each sequence on one queue, two consumers. One step fails at its first
     * delivery and must come again before its successors.
     */
    static void orderly(Clients clients, Report report) throws Exception {
        final int sequences = 8;
        final int steps = 12;
        String topic = clients.createTopic("orderly");
        Map<String, List<Integer>> seen = new ConcurrentHashMap<>();
        AtomicBoolean failed = new AtomicBoolean();
        MessageListenerOrderly listener = (messages, context) -> {
            for (MessageExt m : messages) {
                String[] parts = Clients.body(m).split("/");
                if (parts[0].equals("s3") && parts[1].equals("5") && failed.compareAndSet(false,
                    true)) {
                    context.setSuspendCurrentQueueTimeMillis(200);
                    return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
                }
                seen.computeIfAbsent(parts[0],
                    k -> new ArrayList<>()).add(Integer.parseInt(parts[1]));
            }
            return ConsumeOrderlyStatus.SUCCESS;
        };
        List<DefaultMQPushConsumer> members = new ArrayList<>();
        for (int i = 0; i < 2; i++) {
            DefaultMQPushConsumer consumer = clients.pushConsumer("orderly-group");
            consumer.setConsumeMessageBatchMaxSize(1);
            consumer.subscribe(topic, "*");
            consumer.registerMessageListener(listener);
            consumer.start();
            members.add(consumer);
        }
        report.check("orderly-locks", () -> {
            awaitShares(topic, members.get(0), members.get(1));
            return "2 consumers, 2 locked queues each";
        });
        report.check("orderly-sequence", () -> {
            List<Integer> expected = new ArrayList<>();
            for (int step = 0; step < steps; step++) {
                expected.add(step);
                for (int s = 0; s < sequences; s++) {
                    clients.producer().send(Clients.message(topic, "A", "s" + s + "/" + step),
                        (queues, message, arg) -> queues.get((Integer) arg % queues.size()), s);
                }
            }
            // A rebalance whose heartbeat finds another one under way skips it: the broker answers
            // "the subscription is not latest" until the next one, 30 s later.
            await("all steps", 75,
                () -> seen.values().stream().mapToInt(List::size).sum() >= sequences * steps);
            for (int s = 0; s < sequences; s++) {
                same("sequence s" + s, expected, seen.get("s" + s));
            }
            require(failed.get(), "the failing step never came");
            return sequences + " sequences of " + steps + ", one step delivered again in place";
        });
    }
}
