package interop;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Makes the clients of one scenario and shuts them down again, newest first. Topics and groups are
 * named after the prefix from the command line, so that nothing of an earlier run is in the way.
 *
 * <p>Where 4.9 and 5.x have different signatures for the same call (topic creation, the message
 * model), the call goes through reflection: one source compiles against both.
 */
final class Clients implements AutoCloseable {
    static final int QUEUES = 4;

    private final String namesrv;
    private final String prefix;
    private final Deque<Runnable> closers = new ArrayDeque<>();
    private int instances;
    private DefaultMQProducer producer;
    private DefaultMQPullConsumer reader;

    Clients(String namesrv, String prefix) {
        this.namesrv = namesrv;
        this.prefix = prefix;
    }

    @Override
    public void close() {
        while (!closers.isEmpty()) {
            closers.pop().run();
        }
    }

    String name(String suffix) {
        return prefix + "-" + suffix;
    }

    private <C extends ClientConfig> C configure(C client) {
        client.setNamesrvAddr(namesrv);
        client.setInstanceName(name("i" + instances++));
        client.setPollNameServerInterval(1_000);
        client.setMqClientApiTimeout(10_000);
        return client;
    }

    /** The scenario's ordinary producer, started at first use. */
    DefaultMQProducer producer() throws MQClientException {
        if (producer == null) {
            producer = start(new DefaultMQProducer(name("producer")));
        }
        return producer;
    }

    private <P extends DefaultMQProducer> P start(P client) throws MQClientException {
        configure(client);
        client.setSendMsgTimeout(10_000);
        client.start();
        closers.push(client::shutdown);
        return client;
    }

    TransactionMQProducer transactionProducer(TransactionListener listener)
        throws MQClientException {
        TransactionMQProducer client = new TransactionMQProducer(name("tx-producer"));
        client.setTransactionListener(listener);
        return start(client);
    }

    /** Reads from the oldest message on; the caller subscribes, sets a listener, and starts it. */
    DefaultMQPushConsumer pushConsumer(String group) {
        DefaultMQPushConsumer client = configure(new DefaultMQPushConsumer(name(group)));
        client.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        client.setConsumeThreadMin(4);
        client.setConsumeThreadMax(4);
        closers.push(client::shutdown);
        return client;
    }

    DefaultLitePullConsumer litePullConsumer(String group) {
        DefaultLitePullConsumer client = configure(new DefaultLitePullConsumer(name(group)));
        client.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        client.setAutoCommit(false);
        closers.push(client::shutdown);
        return client;
    }

    DefaultMQPullConsumer pullConsumer(String group) throws MQClientException {
        DefaultMQPullConsumer client = configure(new DefaultMQPullConsumer(name(group)));
        client.start();
        closers.push(client::shutdown);
        return client;
    }

    /** How many queues of the topic this consumer holds at the moment. */
    static long queuesHeld(DefaultMQPushConsumer consumer, String topic) {
        return consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable()
            .keySet().stream().filter(q -> q.getTopic().equals(topic)).count();
    }

    /** Starts the only member of a group and waits until it holds all queues: from now on whatever
     * is visible comes at once. */
    static void startAlone(DefaultMQPushConsumer consumer, String topic) throws MQClientException {
        consumer.start();
        Report.await("all queues for the consumer", 30,
            () -> queuesHeld(consumer, topic) == QUEUES);
    }

    static void broadcast(DefaultMQPushConsumer consumer) throws Exception {
        Method setter = method(DefaultMQPushConsumer.class, "setMessageModel", 1);
        for (Object model : setter.getParameterTypes()[0].getEnumConstants()) {
            if (model.toString().equals("BROADCASTING")) {
                invoke(setter, consumer, model);
            }
        }
    }

    /** Creates a topic on every broker (request code 17) and waits until its route is known. */
    String createTopic(String suffix) throws Exception {
        String topic = name(suffix);
        DefaultMQProducer p = producer();
        Method modern = method(DefaultMQProducer.class, "createTopic", 4);
        if (modern.getParameterTypes()[3] == Map.class) {
            invoke(modern, p, p.getCreateTopicKey(), topic, QUEUES, Map.of());
        } else {
            invoke(method(DefaultMQProducer.class, "createTopic", 3), p, p.getCreateTopicKey(),
                topic,
                QUEUES);
        }
        Report.await("route of " + topic, () -> routeSize(topic) == QUEUES);
        return topic;
    }

    private int routeSize(String topic) {
        try {
            return producer.fetchPublishMessageQueues(topic).size();
        } catch (MQClientException e) {
            return 0;
        }
    }

    private static Method method(Class<?> type, String name, int parameters) {
        for (Method m : type.getMethods()) {
            if (m.getName().equals(name) && m.getParameterCount() == parameters) {
                return m;
            }
        }
        throw new IllegalStateException(type + " has no " + name + " of " + parameters);
    }

    private static void invoke(Method m, Object target, Object... args) throws Exception {
        try {
            m.invoke(target, args);
        } catch (InvocationTargetException e) {
            throw e.getCause() instanceof Exception ? (Exception) e.getCause() : e;
        }
    }

    /** Every message of a topic, queue by queue in order, by plain pulls from min to max offset. */
    List<MessageExt> readAll(String topic) throws Exception {
        if (reader == null) {
            reader = pullConsumer("reader");
        }
        List<MessageExt> all = new ArrayList<>();
        for (MessageQueue queue : queues(reader, topic)) {
            readQueue(reader, queue, all);
        }
        return all;
    }

    static List<MessageQueue> queues(DefaultMQPullConsumer consumer, String topic)
        throws MQClientException {
        return consumer.fetchSubscribeMessageQueues(topic).stream()
            .sorted(Comparator.comparingInt(MessageQueue::getQueueId)).collect(Collectors.toList());
    }

    static void readQueue(DefaultMQPullConsumer consumer, MessageQueue queue, List<MessageExt> into)
        throws Exception {
        long end = consumer.maxOffset(queue);
        long next = consumer.minOffset(queue);
        while (next < end) {
            PullResult result = consumer.pull(queue, "*", next, 32, 10_000);
            if (result.getMsgFoundList() != null) {
                into.addAll(result.getMsgFoundList());
            }
            Report.require(result.getNextBeginOffset() > next,
                "pull of %s at %d below its end %d makes no progress: %s", queue, next, end,
                result);
            next = result.getNextBeginOffset();
        }
    }

    static Message message(String topic, String tag, String body) {
        return new Message(topic, tag, body.getBytes(StandardCharsets.UTF_8));
    }

    static String body(Message m) {
        return new String(m.getBody(), StandardCharsets.UTF_8);
    }
}
