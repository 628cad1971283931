package interop;

import static interop.Report.await;
import static interop.Report.require;
import static interop.Report.same;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Deliveries that are late on purpose: delay levels, retries, the dead-letter queue. */
final class Delivering {
    /** What delay levels 1 and 2 last at least, here and in upstream's default. */
    private static final long[] LEVEL_MS = {0, 1_000, 2_000};

    /** How much later than due a delivery may come, in seconds. */
    private static final int SLACK = 20;

    private static final class Delivery {
        final MessageExt message;
        final int reconsumeTimes;
        final long at = System.currentTimeMillis();

        Delivery(MessageExt message) {
            this.message = message;
            this.reconsumeTimes = message.getReconsumeTimes();
        }
    }

    /** Whether this delivery fails; may set the level of the next one in the context. */
    private interface Verdict {
        boolean fails(MessageExt message, ConsumeConcurrentlyContext context);
    }

    private final Map<String, List<Delivery>> deliveries = new ConcurrentHashMap<>();

    /** Starts a consumer that records every delivery by body and lets {@code verdict} decide it. */
    private void consume(DefaultMQPushConsumer consumer, String topic, Verdict verdict)
        throws MQClientException {
        consumer.subscribe(topic, "*");
        MessageListenerConcurrently listener = (messages, context) -> {
            MessageExt m = messages.get(0);
            deliveries.computeIfAbsent(Clients.body(m),
                k -> new CopyOnWriteArrayList<>()).add(new Delivery(m));
            return verdict.fails(m, context)
                ? ConsumeConcurrentlyStatus.RECONSUME_LATER
                : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
        consumer.registerMessageListener(listener);
        Clients.startAlone(consumer, topic);
    }

    private List<Delivery> of(String body) {
        return deliveries.getOrDefault(body, List.of());
    }

    private void awaitDeliveries(String body, int count) {
        await(count + " deliveries of " + body, SLACK + 10, () -> of(body).size() >= count);
    }

    static void delay(Clients clients, Report report) throws Exception {
        Delivering d = new Delivering();
        String topic = clients.createTopic("delay");
        d.consume(clients.pushConsumer("delay-group"), topic, (m, context) -> false);

        long start = System.currentTimeMillis();
        for (int level = 2; level >= 0; level--) {
            Message m = Clients.message(topic, "A", "level-" + level);
            if (level > 0) {
                m.setDelayTimeLevel(level);
            }
            clients.producer().send(m);
        }
        for (int level = 1; level <= 2; level++) {
            String body = "level-" + level;
            long least = LEVEL_MS[level];
            report.check("delay-" + body, () -> {
                d.awaitDeliveries(body, 1);
                Delivery got = d.of(body).get(0);
                long elapsed = got.at - start;
                require(elapsed >= least, "came %d ms too early", least - elapsed);
                require(elapsed <= least + SLACK * 1_000L, "came only after %d ms", elapsed);
                same("topic", topic, got.message.getTopic());
                same("tag", "A", got.message.getTags());
                return "after " + elapsed + " ms";
            });
        }
        report.check("delay-order", () -> {
            List<Long> times = new ArrayList<>();
            for (int level = 0; level <= 2; level++) {
                d.awaitDeliveries("level-" + level, 1);
                same("deliveries of level " + level, 1, d.of("level-" + level).size());
                // When the broker delivered it: a client that retries a pull after a second would
                // see two levels arrive together.
                times.add(d.of("level-" + level).get(0).message.getStoreTimestamp());
            }
            require(times.get(0) < times.get(1) && times.get(1) < times.get(2),
                "delivery times by level: %s", times);
            return "sent last to first, came first to last";
        });
    }

    static void retry(Clients clients, Report report) throws Exception {
        Delivering d = new Delivering();
        String topic = clients.createTopic("retry");
        d.consume(clients.pushConsumer("retry-group"), topic, (m, context) -> {
            if (Clients.body(m).equals("explicit")) {
                context.setDelayLevelWhenNextConsume(1);
            }
            return m.getReconsumeTimes() < (Clients.body(m).equals("twice") ? 2 : 1);
        });
        for (String body : List.of("once", "explicit", "twice")) {
            clients.producer().send(new Message(topic, "A", "key-" + body, body.getBytes()));
        }

        report.check("retry-redelivered", () -> {
            d.awaitDeliveries("once", 2);
            Delivery first = d.of("once").get(0);
            Delivery second = d.of("once").get(1);
            same("reconsumeTimes of the first", 0, first.reconsumeTimes);
            same("reconsumeTimes of the second", 1, second.reconsumeTimes);
            same("topic", topic, second.message.getTopic());
            same("message id", first.message.getMsgId(), second.message.getMsgId());
            same("key", "key-once", second.message.getKeys());
            same("born", first.message.getBornTimestamp(), second.message.getBornTimestamp());
            return "again after " + (second.at - first.at) + " ms with reconsumeTimes 1";
        });
        report.check("retry-level", () -> {
            d.awaitDeliveries("explicit", 2);
            long elapsed = d.of("explicit").get(1).at - d.of("explicit").get(0).at;
            require(elapsed >= LEVEL_MS[1], "came again after %d ms", elapsed);
            d.awaitDeliveries("once", 2);
            require(d.of("explicit").get(1).at < d.of("once").get(1).at,
                "level 1 came again after the level that the broker chose");
            return "level 1 asked for, again after " + elapsed + " ms";
        });
        report.check("retry-counts", () -> {
            d.awaitDeliveries("twice", 3);
            same("reconsumeTimes", 2, d.of("twice").get(2).reconsumeTimes);
            same("deliveries of once", 2, d.of("once").size());
            same("deliveries of explicit", 2, d.of("explicit").size());
            return "reconsumeTimes 2 at the third delivery";
        });
    }

    static void dlq(Clients clients, Report report) throws Exception {
        Delivering d = new Delivering();
        String topic = clients.createTopic("dlq");
        DefaultMQPushConsumer consumer = clients.pushConsumer("dlq-group");
        consumer.setMaxReconsumeTimes(1);
        d.consume(consumer, topic, (m, context) -> {
            if (Clients.body(m).equals("direct")) {
                context.setDelayLevelWhenNextConsume(-1);
            }
            return !Clients.body(m).equals("good");
        });
        for (String body : List.of("poison", "good", "direct")) {
            clients.producer().send(new Message(topic, "A", "key-" + body, body.getBytes()));
        }

        String deadLetters = "%DLQ%" + clients.name("dlq-group");
        report.check("dlq-direct", () -> {
            MessageExt dead = awaitDead(clients, deadLetters, "direct");
            same("deliveries", 1, d.of("direct").size());
            same("key", "key-direct", dead.getKeys());
            return "refused for good at the first delivery";
        });
        report.check("dlq-exhausted", () -> {
            MessageExt dead = awaitDead(clients, deadLetters, "poison");
            same("deliveries", 2, d.of("poison").size());
            same("reconsumeTimes of the last", 1, d.of("poison").get(1).reconsumeTimes);
            same("original topic", topic, dead.getProperty("RETRY_TOPIC"));
            same("key", "key-poison", dead.getKeys());
            same("dead letters", 2, clients.readAll(deadLetters).size());
            same("deliveries of the good message", 1, d.of("good").size());
            return "after 2 deliveries";
        });
    }

    private static MessageExt awaitDead(Clients clients, String deadLetters, String body) {
        MessageExt[] found = new MessageExt[1];
        await(body + " in " + deadLetters, SLACK + 10, () -> {
            try {
                for (MessageExt m : clients.readAll(deadLetters)) {
                    if (Clients.body(m).equals(body)) {
                        found[0] = m;
                    }
                }
            } catch (MQClientException e) {
                return false; // the topic is made with the first dead letter
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
            return found[0] != null;
        });
        return found[0];
    }
}
