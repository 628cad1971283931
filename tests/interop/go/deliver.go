package main

import (
	"context"
	"fmt"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// The broker's delay levels 1 and 2 last at least this long, here and in upstream's default.
var levels = []time.Duration{0, time.Second, 2 * time.Second}

// This client learns the route of its retry topic only at a refresh every 30 seconds.
const retryLimit = 90 * time.Second

func delay(c *clients, r *report) {
	topic := c.createTopic("delay")
	box := &inbox{}
	c.startConsumer("delay-group", topic, "*", box.accept)
	start := time.Now().Truncate(time.Millisecond)
	for level := range levels {
		message := newMessage(topic, "A", fmt.Sprintf("level-%d", level))
		if level > 0 {
			message.WithDelayTimeLevel(level)
		}
		c.sendSync(message)
	}
	for level := 1; level < len(levels); level++ {
		body := fmt.Sprintf("level-%d", level)
		least := levels[level]
		r.check("delay-"+body, func() string {
			got := box.awaitCount(body, 1, least+soon)[0]
			elapsed := got.at.Sub(start)
			require(elapsed >= least, "came %s too early", least-elapsed)
			same("topic", topic, got.message.Topic)
			same("deliveries", 1, len(box.of(body)))
			return fmt.Sprintf("after %d ms", elapsed.Milliseconds())
		})
	}
}

// retry makes each message fail at its first delivery: one with a delay level of its own choice.
func retry(c *clients, r *report) {
	topic := c.createTopic("retry")
	box := &inbox{}
	c.startConsumer("retry-group", topic, "*",
		func(ctx context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
			box.add(m)
			if m.ReconsumeTimes > 0 {
				return consumer.ConsumeSuccess
			}
			if string(m.Body) == "explicit" {
				if context, ok := primitive.GetConcurrentlyCtx(ctx); ok {
					context.DelayLevelWhenNextConsume = 1
				}
			}
			return consumer.ConsumeRetryLater
		})
	for _, body := range []string{"once", "explicit"} {
		c.sendSync(newMessage(topic, "A", body).WithKeys([]string{"key-" + body}))
	}
	for _, names := range [][2]string{{"retry-redelivered", "once"}, {"retry-level", "explicit"}} {
		body := names[1]
		r.check(names[0], func() string {
			deliveries := box.awaitCount(body, 2, retryLimit)
			first, second := deliveries[0], deliveries[1]
			same("reconsumeTimes of the first", int32(0), first.message.ReconsumeTimes)
			same("reconsumeTimes of the second", int32(1), second.message.ReconsumeTimes)
			same("topic", topic, second.message.Topic)
			same("key", "key-"+body, second.message.GetKeys())
			same("message id", first.message.MsgId, second.message.MsgId)
			elapsed := second.at.Sub(first.at)
			require(elapsed >= levels[1], "came again after %s", elapsed)
			return fmt.Sprintf("again after %d ms with reconsumeTimes 1", elapsed.Milliseconds())
		})
	}
}
