package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

const sendCount = 20

func sendBodies(kind string) []string {
	var bodies []string
	for i := 0; i < sendCount; i++ {
		bodies = append(bodies, fmt.Sprintf("%s-%d", kind, i))
	}
	return bodies
}

// send tries every way to send; one consumer of the whole topic receives what each check sent.
func send(c *clients, r *report) {
	topic := c.name("send")
	box := &inbox{}
	ctx := context.Background()

	// receivedExactly waits for the messages of a kind and compares them one by one.
	receivedExactly := func(kind string) []delivery {
		found := box.awaitCount(kind, sendCount, soon)
		sameElements("received "+kind, sendBodies(kind), box.bodies(kind))
		return found
	}

	r.check("send-autocreate", func() string {
		c.sendSync(newMessage(topic, "A", "first"))
		await("route of "+topic, soon, func() bool { _, known := c.route(topic); return known })
		c.startConsumer("send-group", topic, "*", box.accept)
		box.awaitCount("first", 1, soon)
		return "topic made by the first message"
	})
	r.check("send-sync", func() string {
		ids := map[string]bool{}
		for _, body := range sendBodies("sync") {
			ids[c.sendSync(newMessage(topic, "A", body)).MsgID] = true
		}
		same("distinct message ids", sendCount, len(ids))
		for _, d := range receivedExactly("sync") {
			require(ids[d.message.MsgId], "received id %s was never sent", d.message.MsgId)
		}
		return fmt.Sprintf("%d messages", sendCount)
	})
	r.check("send-async", func() string {
		results := make(chan error, 2*sendCount) // the client reports a failure twice
		for _, body := range sendBodies("async") {
			must("send",
				c.producer().SendAsync(ctx, func(_ context.Context, _ *primitive.SendResult, err error) {
					results <- err
				}, newMessage(topic, "A", body)))
		}
		for i := 0; i < sendCount; i++ {
			select {
			case err := <-results:
				must("callback", err)
			case <-time.After(soon):
				require(false, "%d callbacks did not come", sendCount-i)
			}
		}
		receivedExactly("async")
		return fmt.Sprintf("%d callbacks", sendCount)
	})
	r.check("send-oneway", func() string {
		for _, body := range sendBodies("oneway") {
			must("send", c.producer().SendOneWay(ctx, newMessage(topic, "A", body)))
		}
		receivedExactly("oneway")
		return fmt.Sprintf("%d messages", sendCount)
	})
	r.check("send-batch", func() string {
		var messages []*primitive.Message
		for _, body := range sendBodies("batch") {
			messages = append(messages,
				newMessage(topic, "T"+body, body).WithKeys([]string{"K" + body}))
		}
		result, err := c.producer().SendSync(ctx, messages...)
		must("send", err)
		same("status", primitive.SendOK, result.Status)
		for _, d := range receivedExactly("batch") {
			body := string(d.message.Body)
			same("tag of "+body, "T"+body, d.message.GetTags())
			same("key of "+body, "K"+body, d.message.GetKeys())
			same("queue of "+body, result.MessageQueue.QueueId, d.message.Queue.QueueId)
		}
		return fmt.Sprintf("%d messages in one request", sendCount)
	})
	r.check("send-keys-tag", func() string {
		message := newMessage(topic, "Tag\u00c4",
			"keys \u00e4\u4e2d").WithKeys([]string{"key-1", "key-2"})
		message.WithProperty("shop", "caf\u00e9 = 1")
		c.sendSync(message)
		m := box.awaitCount("keys", 1, soon)[0].message
		same("body", "keys \u00e4\u4e2d", string(m.Body))
		same("tag", "Tag\u00c4", m.GetTags())
		same("keys", "key-1 key-2", m.GetKeys())
		same("user property", "caf\u00e9 = 1", m.GetProperty("shop"))
		return "tag, 2 keys, user property"
	})
	r.check("send-compressed", func() string {
		body := "compressed " + strings.Repeat("0123456789", 2000)
		c.sendSync(newMessage(topic, "A", body))
		m := box.awaitCount("compressed", 1, soon)[0].message
		same("body", body, string(m.Body))
		require(int(m.StoreSize) < len(body)/2, "%d bytes stored for a body of %d: not compressed",
			m.StoreSize, len(body))
		return fmt.Sprintf("%d bytes stored in %d", len(body), m.StoreSize)
	})
	r.check("send-queue", func() string {
		manual := c.newProducer("manual-producer",
			producer.WithQueueSelector(producer.NewManualQueueSelector()))
		broker := c.sendSync(newMessage(topic, "A", "where")).MessageQueue.BrokerName
		last := int64(-1)
		for _, body := range sendBodies("queue") {
			message := newMessage(topic, "A", body)
			message.Queue = &primitive.MessageQueue{Topic: topic, BrokerName: broker, QueueId: 2}
			result, err := manual.SendSync(ctx, message)
			must("send", err)
			same("queue of the answer", 2, result.MessageQueue.QueueId)
			require(last < 0 || result.QueueOffset == last+1, "queue offset %d after %d",
				result.QueueOffset, last)
			last = result.QueueOffset
		}
		for _, d := range receivedExactly("queue") {
			same("queue stored in", 2, d.message.Queue.QueueId)
		}
		return fmt.Sprintf("%d messages with dense offsets up to %d", sendCount, last)
	})
}
