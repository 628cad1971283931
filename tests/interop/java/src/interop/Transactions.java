package interop;

import static interop.Report.await;
import static interop.Report.require;
import static interop.Report.same;

import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Half messages. Each message's body says what becomes of it: decided at once, or left unknown so
 * that the broker has to ask. Needs a broker that checks within seconds.
 */
final class Transactions implements TransactionListener {
    private static final int CHECKED = 30; // seconds for a check-back to happen

    private final Clients clients;
    private final String topic;
    private final Queue<String> received = new ConcurrentLinkedQueue<>();
    private final Map<String, AtomicInteger> checks = new ConcurrentHashMap<>();
    private volatile String seenWhileHalf;

    private Transactions(Clients clients, String topic) {
        this.clients = clients;
        this.topic = topic;
    }

    @Override
    public LocalTransactionState executeLocalTransaction(Message m, Object arg) {
        if (Clients.body(m).equals("commit")) {
            seenWhileHalf = overtake();
        }
        return (LocalTransactionState) arg;
    }

    /** What the consumer has got after an ordinary message, sent while the half one waits. */
    private String overtake() {
        try {
            clients.producer().send(Clients.message(topic, "A", "bystander"));
            await("the ordinary message", () -> received.contains("bystander"));
            return received.toString();
        } catch (Exception | AssertionError e) {
            return e.toString();
        }
    }

    @Override
    public LocalTransactionState checkLocalTransaction(MessageExt m) {
        int round = checks.computeIfAbsent(Clients.body(m),
            k -> new AtomicInteger()).incrementAndGet();
        switch (Clients.body(m)) {
            case "check-commit":
                return LocalTransactionState.COMMIT_MESSAGE;
            case "check-rollback":
                return LocalTransactionState.ROLLBACK_MESSAGE;
            case "check-again":
                return round == 1
                    ? LocalTransactionState.UNKNOW : LocalTransactionState.COMMIT_MESSAGE;
            default:
                return LocalTransactionState.UNKNOW;
        }
    }

    private int rounds(String body) {
        return checks.containsKey(body) ? checks.get(body).get() : 0;
    }

    private void sendHalf(TransactionMQProducer producer, String body, LocalTransactionState state)
        throws Exception {
        Message m = new Message(topic, "A", "key-" + body, body.getBytes());
        TransactionSendResult result = producer.sendMessageInTransaction(m, state);
        same("status", SendStatus.SEND_OK, result.getSendStatus());
        same("local state", state, result.getLocalTransactionState());
    }

    static void transaction(Clients clients, Report report) throws Exception {
        Transactions t = new Transactions(clients, clients.createTopic("transaction"));
        DefaultMQPushConsumer consumer = clients.pushConsumer("transaction-group");
        consumer.subscribe(t.topic, "*");
        MessageListenerConcurrently listener = (messages, context) -> {
            messages.forEach(m -> t.received.add(Clients.body(m)));
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        };
        consumer.registerMessageListener(listener);
        Clients.startAlone(consumer, t.topic);
        TransactionMQProducer producer = clients.transactionProducer(t);

        report.check("transaction-commit", () -> { // before any other may be committed by its check
            t.sendHalf(producer, "commit", LocalTransactionState.COMMIT_MESSAGE);
            same("received while half", "[bystander]", t.seenWhileHalf);
            await("the committed message", () -> t.received.contains("commit"));
            return "invisible until committed";
        });
        for (String body : List.of("check-commit", "check-rollback", "check-again")) {
            t.sendHalf(producer, body, LocalTransactionState.UNKNOW);
        }
        t.sendHalf(producer, "rollback", LocalTransactionState.ROLLBACK_MESSAGE);
        report.check("transaction-checkback", () -> {
            await("the message committed by check-back", CHECKED,
                () -> t.received.contains("check-commit"));
            return "committed at check " + t.rounds("check-commit");
        });
        report.check("transaction-checkback-again", () -> {
            await("the message committed by a later check", CHECKED,
                () -> t.received.contains("check-again"));
            require(t.rounds("check-again") >= 2, "%d checks", t.rounds("check-again"));
            return "unknown at the first check, committed at check " + t.rounds("check-again");
        });
        report.check("transaction-rollback", () -> {
            await("check of the third message", CHECKED, () -> t.rounds("check-rollback") >= 1);
            clients.producer().send(Clients.message(t.topic, "A", "last"));
            await("the last message", () -> t.received.contains("last"));
            same("received", Set.of("bystander", "commit", "check-commit", "check-again", "last"),
                Set.copyOf(t.received));
            return "neither at once nor by check-back delivered";
        });
        if (System.getenv("INTEROP_ONCE") != null) {
            report.check("transaction-once", () -> {
                same("messages", 5, t.received.size());
                return "no message twice";
            });
        }
    }
}
