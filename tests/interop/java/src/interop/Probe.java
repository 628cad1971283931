package interop;

import static interop.Report.await;
import static interop.Report.same;

import java.util.Map;
import java.util.concurrent.ConcurrentSkipListMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * The same numbered messages from and to every client. README.md beside run.sh fixes topic, group,
 * tag, keys and bodies; any producer's messages can be checked by any consumer.
 */
final class Probe {
    private static final int COUNT = 100;

    private Probe() {
    }

    private static String sequence(int i) {
        return String.format("%06d", i);
    }

    private static String body(int i) {
        return "probe-" + sequence(i) + (i % 10 == 0 ? ":" + "x".repeat(6_000) : "");
    }

    static void produce(Clients clients, Report report) {
        report.check("probe-produce", () -> {
            String topic = clients.createTopic("probe");
            for (int i = 0; i < COUNT; i++) {
                clients.producer().send(
                    new Message(topic, "probe", "key-" + sequence(i), body(i).getBytes()));
            }
            return COUNT + " messages";
        });
    }

    static void consume(Clients clients, Report report) {
        Map<String, String> received = new ConcurrentSkipListMap<>();
        AtomicInteger deliveries = new AtomicInteger();
        report.check("probe-consume", () -> {
            DefaultMQPushConsumer consumer = clients.pushConsumer("probe-group");
            consumer.subscribe(clients.name("probe"), "probe");
            MessageListenerConcurrently listener = (messages, context) -> {
                for (MessageExt m : messages) {
                    received.put(m.getKeys().replace("key-", ""),
                        m.getTags() + " " + Clients.body(m));
                    deliveries.incrementAndGet();
                }
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            };
            consumer.registerMessageListener(listener);
            consumer.start();
            await(COUNT + " messages", 40, () -> received.size() >= COUNT);
            for (int i = 0; i < COUNT; i++) {
                same("tag and body of " + i, "probe " + body(i), received.get(sequence(i)));
            }
            return deliveries + " deliveries";
        });
        received.keySet().forEach(sequence -> System.out.println("DATA " + sequence));
    }
}
