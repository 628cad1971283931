package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// clients makes the clients of one scenario and shuts them down again, newest first. Topics and
// groups are named after the prefix from the command line, so that nothing of an earlier run is in
// the way.
type clients struct {
	namesrv, prefix string
	instances       int
	closers         []func() error
	plain           rocketmq.Producer
}

func (c *clients) close() {
	for i := len(c.closers) - 1; i >= 0; i-- {
		_ = c.closers[i]()
	}
}

func (c *clients) name(suffix string) string {
	return c.prefix + "-" + suffix
}

func (c *clients) instance() string {
	c.instances++
	return fmt.Sprintf("%s-i%d", c.prefix, c.instances)
}

func (c *clients) producerOptions(group string, more ...producer.Option) []producer.Option {
	return append([]producer.Option{
		producer.WithNameServer(primitive.NamesrvAddr{c.namesrv}),
		producer.WithGroupName(c.name(group)),
		producer.WithInstanceName(c.instance()),
		producer.WithSendMsgTimeout(10 * time.Second),
	}, more...)
}

// producer is the scenario's ordinary producer, started at first use.
func (c *clients) producer() rocketmq.Producer {
	if c.plain == nil {
		c.plain = c.newProducer("producer")
	}
	return c.plain
}

func (c *clients) newProducer(group string, more ...producer.Option) rocketmq.Producer {
	p, err := rocketmq.NewProducer(c.producerOptions(group, more...)...)
	must("new producer", err)
	must("start producer", p.Start())
	c.closers = append(c.closers, p.Shutdown)
	return p
}

func (c *clients) newTransactionProducer(
	listener primitive.TransactionListener) rocketmq.TransactionProducer {
	p, err := rocketmq.NewTransactionProducer(listener, c.producerOptions("tx-producer")...)
	must("new transaction producer", err)
	must("start transaction producer", p.Start())
	c.closers = append(c.closers, p.Shutdown)
	return p
}

type handler func(context.Context, *primitive.MessageExt) consumer.ConsumeResult

// startConsumer starts a push consumer that reads from the oldest message on. The client insists
// that the topic exists.
func (c *clients) startConsumer(group, topic, tags string, handle handler,
	more ...consumer.Option) rocketmq.PushConsumer {
	options := append([]consumer.Option{
		consumer.WithNameServer(primitive.NamesrvAddr{c.namesrv}),
		consumer.WithGroupName(c.name(group)),
		consumer.WithInstance(c.instance()),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
		consumer.WithConsumeMessageBatchMaxSize(1),
	}, more...)
	pc, err := rocketmq.NewPushConsumer(options...)
	must("new consumer", err)
	must("subscribe",
		pc.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: tags},
			func(ctx context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult,
				error) {
				return handle(ctx, messages[0]), nil
			}))
	must("start consumer", pc.Start())
	c.closers = append(c.closers, pc.Shutdown)
	return pc
}

func (c *clients) sendSync(message *primitive.Message) *primitive.SendResult {
	result, err := c.producer().SendSync(context.Background(), message)
	must("send", err)
	same("status", primitive.SendOK, result.Status)
	return result
}

func newMessage(topic, tag, body string) *primitive.Message {
	return primitive.NewMessage(topic, []byte(body)).WithTag(tag)
}

// delivery is one call of a listener.
type delivery struct {
	message *primitive.MessageExt
	at      time.Time
}

// inbox collects deliveries in the order they came.
type inbox struct {
	mutex sync.Mutex
	all   []delivery
}

func (i *inbox) add(message *primitive.MessageExt) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.all = append(i.all, delivery{message, time.Now()})
}

func (i *inbox) accept(_ context.Context, message *primitive.MessageExt) consumer.ConsumeResult {
	i.add(message)
	return consumer.ConsumeSuccess
}

// of returns the deliveries whose body starts with the prefix.
func (i *inbox) of(prefix string) []delivery {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	var found []delivery
	for _, d := range i.all {
		if len(d.message.Body) >= len(prefix) && string(d.message.Body[:len(prefix)]) == prefix {
			found = append(found, d)
		}
	}
	return found
}

func (i *inbox) bodies(prefix string) []string {
	var bodies []string
	for _, d := range i.of(prefix) {
		bodies = append(bodies, string(d.message.Body))
	}
	return bodies
}

func (i *inbox) awaitCount(prefix string, count int, limit time.Duration) []delivery {
	await(fmt.Sprintf("%d deliveries of %s", count, prefix), limit,
		func() bool { return len(i.of(prefix)) >= count })
	return i.of(prefix)
}
