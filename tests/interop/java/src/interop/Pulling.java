package interop;

import static interop.Report.await;
import static interop.Report.require;
import static interop.Report.same;
import static interop.Report.sameElements;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Pulls and offsets asked for by hand, and the lite pull consumer. */
final class Pulling {
    private static final int COUNT = 10;

    private final Clients clients;
    private final DefaultMQProducer producer;
    private final String topic;
    private final DefaultMQPullConsumer consumer;
    private final MessageQueue queue;
    private final MessageQueue emptyQueue;
    private long middle;

    private Pulling(Clients clients) throws Exception {
        this.clients = clients;
        this.producer = clients.producer();
        this.topic = clients.createTopic("pull");
        this.consumer = clients.pullConsumer("pull-group");
        List<MessageQueue> queues = Clients.queues(consumer, topic);
        this.queue = queues.get(1);
        this.emptyQueue = queues.get(2);
    }

    static void pull(Clients clients, Report report) throws Exception {
        Pulling p = new Pulling(clients);
        report.check("pull-min-max", p::minAndMax);
        report.check("pull-range", p::range);
        report.check("pull-tag", p::tag);
        report.check("pull-search", p::search);
        report.check("pull-long-poll", p::longPoll);
        report.check("pull-commit", p::commit);
    }

    private void send(int from, int to) throws Exception {
        for (int i = from; i < to; i++) {
            producer.send(Clients.message(topic, i % 2 == 0 ? "even" : "odd", "m" + i), queue);
        }
    }

    /** Leaves COUNT messages in the queue, and in {@code middle} a time between its two halves. */
    private String minAndMax() throws Exception {
        same("max of an empty queue", 0L, consumer.maxOffset(queue));
        send(0, COUNT / 2);
        long last = clients.readAll(topic).get(COUNT / 2 - 1).getStoreTimestamp();
        await("the next millisecond", () -> System.currentTimeMillis() > last + 1);
        middle = last + 1;
        send(COUNT / 2, COUNT);
        same("min", 0L, consumer.minOffset(queue));
        same("max", (long) COUNT, consumer.maxOffset(queue));
        same("max of another queue", 0L, consumer.maxOffset(emptyQueue));
        return "0 and " + COUNT;
    }

    private String range() throws Exception {
        PullResult part = consumer.pull(queue, "*", 3, 4, 10_000);
        same("status", PullStatus.FOUND, part.getPullStatus());
        same("offsets", List.of(3L, 4L, 5L, 6L),
            part.getMsgFoundList().stream().map(MessageExt::getQueueOffset)
                .collect(Collectors.toList()));
        same("next", 7L, part.getNextBeginOffset());
        same("min", 0L, part.getMinOffset());
        same("max", (long) COUNT, part.getMaxOffset());

        PullResult end = consumer.pull(queue, "*", COUNT, 4, 10_000);
        same("status at the end", PullStatus.NO_NEW_MSG, end.getPullStatus());
        same("next at the end", (long) COUNT, end.getNextBeginOffset());

        PullResult beyond = consumer.pull(queue, "*", COUNT + 40, 4, 10_000);
        same("status beyond the end", PullStatus.OFFSET_ILLEGAL, beyond.getPullStatus());
        same("corrected offset", (long) COUNT, beyond.getNextBeginOffset());
        return "inside, at and beyond the end";
    }

    private String tag() throws Exception {
        PullResult result = consumer.pull(queue, "even", 0, 32, 10_000);
        same("bodies", List.of("m0", "m2", "m4", "m6", "m8"),
            result.getMsgFoundList().stream().map(Clients::body).collect(Collectors.toList()));
        PullResult none = consumer.pull(queue, "neither", 0, 32, 10_000);
        same("status", PullStatus.NO_MATCHED_MSG, none.getPullStatus());
        same("next", (long) COUNT, none.getNextBeginOffset());
        return "5 of " + COUNT;
    }

    private String search() throws Exception {
        same("offset at the middle", (long) COUNT / 2, consumer.searchOffset(queue, middle));
        same("offset at time 0", 0L, consumer.searchOffset(queue, 0));
        same("offset in an hour", (long) COUNT,
            consumer.searchOffset(queue, System.currentTimeMillis() + 3_600_000));
        same("offset in an empty queue", 0L, consumer.searchOffset(emptyQueue, middle));
        return "middle, before, after, empty";
    }

    /** A pull at the end of the queue is held and answered when a message comes. */
    private String longPoll() throws Exception {
        CompletableFuture<PullResult> answer = new CompletableFuture<>();
        Thread puller = new Thread(() -> {
            try {
                answer.complete(consumer.pullBlockIfNotFound(queue, "*", COUNT, 32));
            } catch (Exception e) {
                answer.completeExceptionally(e);
            }
        });
        puller.start();
        await("the pull to wait for its answer",
            () -> puller.getState() == Thread.State.TIMED_WAITING);
        long start = System.nanoTime();
        send(COUNT, COUNT + 1);
        PullResult result = answer.get(Report.SOON, TimeUnit.SECONDS);
        long elapsed = (System.nanoTime() - start) / 1_000_000;
        same("status", PullStatus.FOUND, result.getPullStatus());
        same("body", "m" + COUNT, Clients.body(result.getMsgFoundList().get(0)));
        require(elapsed < 4_000, "answered %d ms after the send: by a sweep, not by the message",
            elapsed);
        return "answered " + elapsed + " ms after the send began";
    }

    private String commit() throws Exception {
        // The second value is smaller on purpose: a broker stores what it is told.
        for (long offset : new long[] {7, 3}) {
            consumer.getDefaultMQPullConsumerImpl().getOffsetStore()
                .updateConsumeOffsetToBroker(queue, offset, false);
            same("stored offset", offset, consumer.fetchConsumeOffset(queue, true));
        }
        DefaultMQPullConsumer other = clients.pullConsumer("pull-group");
        same("offset seen by another member", 3L, other.fetchConsumeOffset(queue, true));
        return "7, then 3";
    }

    static void litePull(Clients clients, Report report) throws Exception {
        String topic = clients.createTopic("litepull");
        List<String> early = sendNumbered(clients, topic, "early", 40);
        DefaultLitePullConsumer first = clients.litePullConsumer("litepull-group");
        first.subscribe(topic, "*");
        first.start();
        report.check("litepull-poll", () -> {
            sameElements("polled", early, poll(first, early.size()));
            return "each of 40 once";
        });
        report.check("litepull-commit", () -> {
            first.commitSync();
            first.shutdown();
            DefaultMQPullConsumer reader = clients.pullConsumer("litepull-group");
            await("40 committed", () -> committed(reader, topic) == early.size());
            reader.shutdown();
            return "40 committed over " + Clients.QUEUES + " queues";
        });
        List<String> late = sendNumbered(clients, topic, "late", 8);
        report.check("litepull-resume", () -> {
            DefaultLitePullConsumer second = clients.litePullConsumer("litepull-group");
            second.subscribe(topic, "*");
            second.start();
            sameElements("polled", late, poll(second, late.size()));
            return "8 new ones and no old one";
        });
        report.check("litepull-seek", () -> {
            DefaultLitePullConsumer third = clients.litePullConsumer("litepull-assign-group");
            third.start();
            third.assign(third.fetchMessageQueues(topic));
            List<String> all = new ArrayList<>(early);
            all.addAll(late);
            sameElements("polled", all, poll(third, all.size()));
            for (MessageQueue queue : third.fetchMessageQueues(topic)) {
                third.seekToBegin(queue);
            }
            sameElements("polled after seeking", all, poll(third, all.size()));
            return "48 twice";
        });
    }

    private static List<String> sendNumbered(Clients clients, String topic, String wave, int count)
        throws Exception {
        List<String> bodies = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            bodies.add(wave + "-" + i);
            clients.producer().send(Clients.message(topic, "A", wave + "-" + i));
        }
        return bodies;
    }

    private static List<String> poll(DefaultLitePullConsumer consumer, int count) {
        List<String> bodies = new ArrayList<>();
        await(count + " polled messages", 30, () -> {
            consumer.poll(200).forEach(m -> bodies.add(Clients.body(m)));
            return bodies.size() >= count;
        });
        return bodies;
    }

    private static long committed(DefaultMQPullConsumer consumer, String topic) {
        try {
            long sum = 0;
            for (MessageQueue queue : Clients.queues(consumer, topic)) {
                sum += Math.max(0, consumer.fetchConsumeOffset(queue, true));
            }
            return sum;
        } catch (MQClientException e) {
            throw new IllegalStateException(e);
        }
    }
}
