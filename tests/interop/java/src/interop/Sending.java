package interop;

import static interop.Report.await;
import static interop.Report.require;
import static interop.Report.same;
import static interop.Report.sameElements;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Every way to send; each check reads back what it sent by plain pulls. */
final class Sending {
    private static final int COUNT = 20;

    private final Clients clients;
    private final DefaultMQProducer producer;
    private final String topic;

    private Sending(Clients clients) throws MQClientException {
        this.clients = clients;
        this.producer = clients.producer();
        this.topic = clients.name("send");
    }

    static void send(Clients clients, Report report) throws Exception {
        Sending s = new Sending(clients);
        report.check("send-autocreate", s::autoCreate);
        report.check("send-sync", s::sync);
        report.check("send-async", s::async);
        report.check("send-oneway", s::oneway);
        report.check("send-batch", s::batch);
        report.check("send-keys-tag", s::keysAndTag);
        report.check("send-compressed", s::compressed);
        report.check("send-queue", s::explicitQueue);
    }

    private static List<String> bodies(String kind) {
        List<String> bodies = new ArrayList<>();
        for (int i = 0; i < COUNT; i++) {
            bodies.add(kind + "-" + i);
        }
        return bodies;
    }

    private List<MessageExt> stored(String kind) {
        try {
            return clients.readAll(topic).stream()
                .filter(m -> Clients.body(m).startsWith(kind)).collect(Collectors.toList());
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    /** Waits until COUNT messages of a kind are stored, then compares them one by one. */
    private List<MessageExt> storedExactly(String kind) {
        await(COUNT + " stored messages " + kind, () -> stored(kind).size() >= COUNT);
        List<MessageExt> found = stored(kind);
        sameElements("stored " + kind, bodies(kind),
            found.stream().map(Clients::body).collect(Collectors.toList()));
        return found;
    }

    /** Nobody created this topic: the first send must make it, from TBW102's route. */
    private String autoCreate() throws Exception {
        SendResult result = producer.send(Clients.message(topic, "A", "first"));
        same("status", SendStatus.SEND_OK, result.getSendStatus());
        await("route of " + topic, () -> {
            try {
                return producer.fetchPublishMessageQueues(topic).size() == Clients.QUEUES;
            } catch (MQClientException e) {
                return false;
            }
        });
        return Clients.QUEUES + " queues";
    }

    private String sync() throws Exception {
        Set<String> ids = new HashSet<>();
        Set<Integer> queues = new HashSet<>();
        for (String body : bodies("sync")) {
            SendResult result = producer.send(Clients.message(topic, "A", body));
            same("status", SendStatus.SEND_OK, result.getSendStatus());
            ids.add(result.getMsgId());
            queues.add(result.getMessageQueue().getQueueId());
        }
        same("distinct message ids", COUNT, ids.size());
        same("queues used in turn", Clients.QUEUES, queues.size());
        List<MessageExt> found = storedExactly("sync");
        same("ids read back", ids,
            found.stream().map(MessageExt::getMsgId).collect(Collectors.toSet()));
        return COUNT + " messages on " + queues.size() + " queues";
    }

    private String async() throws Exception {
        CountDownLatch done = new CountDownLatch(COUNT);
        AtomicReference<Throwable> error = new AtomicReference<>();
        for (String body : bodies("async")) {
            producer.send(Clients.message(topic, "A", body), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    done.countDown();
                }

                @Override
                public void onException(Throwable e) {
                    error.set(e);
                    done.countDown();
                }
            });
        }
        require(done.await(Report.SOON, TimeUnit.SECONDS), "%d callbacks did not come",
            done.getCount());
        require(error.get() == null, "callback with %s", error.get());
        storedExactly("async");
        return COUNT + " callbacks";
    }

    private String oneway() throws Exception {
        for (String body : bodies("oneway")) {
            producer.sendOneway(Clients.message(topic, "A", body));
        }
        storedExactly("oneway");
        return COUNT + " messages";
    }

    private String batch() throws Exception {
        List<Message> messages = new ArrayList<>();
        for (String body : bodies("batch")) {
            messages.add(new Message(topic, "T" + body, "K" + body, body.getBytes()));
        }
        SendResult result = producer.send(messages);
        same("status", SendStatus.SEND_OK, result.getSendStatus());
        List<MessageExt> found = storedExactly("batch");
        for (MessageExt m : found) {
            same("tag of " + Clients.body(m), "T" + Clients.body(m), m.getTags());
            same("key of " + Clients.body(m), "K" + Clients.body(m), m.getKeys());
            same("queue", result.getMessageQueue().getQueueId(), m.getQueueId());
        }
        same("distinct message ids", (long) COUNT,
            found.stream().map(MessageExt::getMsgId).distinct().count());
        return COUNT + " messages in one request";
    }

    private String keysAndTag() throws Exception {
        Message sent = new Message(topic, "Tag\u00c4", "key-1 key-2",
            "keys \u00e4\u4e2d".getBytes("UTF-8"));
        sent.putUserProperty("shop", "caf\u00e9 = 1");
        sent.setFlag(7);
        producer.send(sent);
        await("stored message", () -> stored("keys").size() == 1);
        MessageExt m = stored("keys").get(0);
        same("body", Clients.body(sent), Clients.body(m));
        same("tag", "Tag\u00c4", m.getTags());
        same("keys", "key-1 key-2", m.getKeys());
        same("user property", "caf\u00e9 = 1", m.getUserProperty("shop"));
        same("flag", 7, m.getFlag());
        require(m.getBornTimestamp() <= m.getStoreTimestamp() + 1_000, "born %d after stored %d",
            m.getBornTimestamp(), m.getStoreTimestamp());
        return "tag, 2 keys, user property, flag";
    }

    private String compressed() throws Exception {
        String body = "compressed " + "0123456789".repeat(2_000);
        producer.send(Clients.message(topic, "A", body));
        await("stored message", () -> stored("compressed").size() == 1);
        MessageExt m = stored("compressed").get(0);
        same("body", body, Clients.body(m));
        require(m.getStoreSize() < body.length() / 2,
            "%d bytes stored for a body of %d: not compressed",
            m.getStoreSize(), body.length());
        return body.length() + " bytes stored in " + m.getStoreSize();
    }

    private String explicitQueue() throws Exception {
        List<MessageQueue> queues = producer.fetchPublishMessageQueues(topic);
        MessageQueue queue = queues.stream().filter(q -> q.getQueueId() == 2).findFirst()
            .orElseThrow();
        long previous = -1;
        for (String body : bodies("queue")) {
            SendResult result = producer.send(Clients.message(topic, "A", body), queue);
            same("queue of the answer", 2, result.getMessageQueue().getQueueId());
            require(previous < 0 || result.getQueueOffset() == previous + 1,
                "queue offset %d after %d", result.getQueueOffset(), previous);
            previous = result.getQueueOffset();
        }
        for (MessageExt m : storedExactly("queue")) {
            same("queue stored in", 2, m.getQueueId());
        }
        return COUNT + " messages with dense offsets up to " + previous;
    }
}
