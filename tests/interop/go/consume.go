package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// awaitShares sends one message per queue, round after round, until both consumers get half of a
// round: the client does not tell which queues it holds.
func awaitShares(c *clients, topic string, boxes [2]*inbox) {
	round := 0
	await("a round of which each consumer gets half", 2*soon, func() bool {
		round++
		name := fmt.Sprintf("round-%d.", round)
		for i := 0; i < queues; i++ {
			c.sendSync(newMessage(topic, "A", name))
		}
		await("all of round "+strconv.Itoa(round), soon, func() bool {
			return len(boxes[0].of(name))+len(boxes[1].of(name)) >= queues
		})
		return len(boxes[0].of(name)) == queues/2 && len(boxes[1].of(name)) == queues/2
	})
}

// sendTagged sends each messages per tag A, B and C; it returns the bodies of A and B.
func sendTagged(c *clients, topic, wave string, each int) []string {
	var wanted []string
	for i := 0; i < each; i++ {
		for _, tag := range []string{"A", "B", "C"} {
			body := fmt.Sprintf("%s-%s-%d", wave, tag, i)
			c.sendSync(newMessage(topic, tag, body))
			if tag != "C" {
				wanted = append(wanted, body)
			}
		}
	}
	return wanted
}

func consume(c *clients, r *report) {
	topic := c.createTopic("consume")
	var boxes [2]*inbox
	var members [2]rocketmq.PushConsumer
	for i := range boxes {
		boxes[i] = &inbox{}
		members[i] = c.startConsumer("consume-group", topic, "A || B", boxes[i].accept)
	}
	received := func(wave string) []string {
		return append(boxes[0].bodies(wave), boxes[1].bodies(wave)...)
	}
	r.check("consume-rebalance", func() string {
		awaitShares(c, topic, boxes)
		return "2 consumers, 2 queues each"
	})
	r.check("consume-tags", func() string {
		wanted := sendTagged(c, topic, "early", 40)
		await("80 messages", soon, func() bool { return len(received("early")) >= len(wanted) })
		sameElements("received", wanted, received("early"))
		return fmt.Sprintf("each of 80 once, shares %d and %d", len(boxes[0].of("early")),
			len(boxes[1].of("early")))
	})
	r.check("consume-takeover", func() string {
		must("shutdown", members[1].Shutdown())
		wanted := sendTagged(c, topic, "late", 20)
		await("40 messages", 2*soon, func() bool { return len(boxes[0].of("late")) >= len(wanted) })
		sameElements("received", wanted, received("late"))
		return "each of 40 once after one consumer left"
	})
}

func broadcast(c *clients, r *report) {
	topic := c.createTopic("broadcast")
	var boxes [2]*inbox
	for i := range boxes {
		boxes[i] = &inbox{}
		c.startConsumer("broadcast-group", topic, "*", boxes[i].accept,
			consumer.WithConsumerModel(consumer.BroadCasting))
	}
	r.check("broadcast", func() string {
		var sent []string
		for i := 0; i < 40; i++ {
			sent = append(sent, fmt.Sprintf("broadcast-%d", i))
			c.sendSync(newMessage(topic, "A", sent[i]))
		}
		for _, box := range boxes {
			box.awaitCount("broadcast", len(sent), 2*soon)
			sameElements("received", sent, box.bodies("broadcast"))
		}
		return "2 consumers, 40 messages each"
	})
}

// orderly sends sequences of steps, each sequence on one queue chosen by its sharding key.
func orderly(c *clients, r *report) {
	const sequences, steps = 8, 12
	topic := c.createTopic("orderly")
	var mutex sync.Mutex
	seen := map[string][]int{}
	total := 0
	record := func(_ context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
		mutex.Lock()
		defer mutex.Unlock()
		parts := strings.Split(string(m.Body), "/")
		step, _ := strconv.Atoi(parts[1])
		seen[parts[0]] = append(seen[parts[0]], step)
		total++
		return consumer.ConsumeSuccess
	}
	hashed := c.newProducer("hash-producer",
		producer.WithQueueSelector(producer.NewHashQueueSelector()))
	c.startConsumer("orderly-group", topic, "*", record, consumer.WithConsumerOrder(true))
	r.check("orderly-sequence", func() string {
		var expected []int
		for step := 0; step < steps; step++ {
			expected = append(expected, step)
			for s := 0; s < sequences; s++ {
				key := fmt.Sprintf("s%d", s)
				_, err := hashed.SendSync(context.Background(),
					newMessage(topic, "A", fmt.Sprintf("%s/%d", key, step)).WithShardingKey(key))
				must("send", err)
			}
		}
		await("all steps", 2*soon, func() bool {
			mutex.Lock()
			defer mutex.Unlock()
			return total >= sequences*steps
		})
		mutex.Lock()
		defer mutex.Unlock()
		for s := 0; s < sequences; s++ {
			key := fmt.Sprintf("s%d", s)
			same("sequence "+key, expected, seen[key])
		}
		return fmt.Sprintf("%d sequences of %d", sequences, steps)
	})
}
