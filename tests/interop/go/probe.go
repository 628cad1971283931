package main

import (
	"fmt"
	"sort"
	"strings"
)

// The same numbered messages from and to every client: README.md beside run.sh fixes topic, group,
// tag, keys and bodies.

const probeCount = 100

func probeBody(i int) string {
	body := fmt.Sprintf("probe-%06d", i)
	if i%10 == 0 {
		body += ":" + strings.Repeat("x", 6000)
	}
	return body
}

func probeProduce(c *clients, r *report) {
	r.check("probe-produce", func() string {
		topic := c.createTopic("probe")
		for i := 0; i < probeCount; i++ {
			c.sendSync(newMessage(topic, "probe",
				probeBody(i)).WithKeys([]string{fmt.Sprintf("key-%06d", i)}))
		}
		return fmt.Sprintf("%d messages", probeCount)
	})
}

func probeConsume(c *clients, r *report) {
	box := &inbox{}
	received := map[string]string{}
	r.check("probe-consume", func() string {
		c.startConsumer("probe-group", c.name("probe"), "probe", box.accept)
		await(fmt.Sprintf("%d messages", probeCount), 2*soon, func() bool {
			for _, d := range box.of("") {
				received[strings.TrimPrefix(d.message.GetKeys(), "key-")] =
					d.message.GetTags() + " " + string(d.message.Body)
			}
			return len(received) >= probeCount
		})
		for i := 0; i < probeCount; i++ {
			same(fmt.Sprintf("tag and body of %d", i), "probe "+probeBody(i),
				received[fmt.Sprintf("%06d", i)])
		}
		return fmt.Sprintf("%d deliveries", len(box.of("")))
	})
	var sequences []string
	for sequence := range received {
		sequences = append(sequences, sequence)
	}
	sort.Strings(sequences)
	for _, sequence := range sequences {
		fmt.Println("DATA " + sequence)
	}
}
