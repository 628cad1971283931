package main

import (
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
)

const checkLimit = 30 * time.Second

// decider answers for the half messages: the body says what becomes of each.
type decider struct {
	mutex  sync.Mutex
	checks map[string]int
	onHalf func()
}

func (d *decider) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	switch string(m.Body) {
	case "commit":
		d.onHalf()
		return primitive.CommitMessageState
	case "rollback":
		return primitive.RollbackMessageState
	default:
		return primitive.UnknowState
	}
}

func (d *decider) CheckLocalTransaction(m *primitive.MessageExt) primitive.LocalTransactionState {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	body := string(m.Body)
	d.checks[body]++
	switch {
	case body == "check-commit", body == "check-again" && d.checks[body] > 1:
		return primitive.CommitMessageState
	case body == "check-rollback":
		return primitive.RollbackMessageState
	default:
		return primitive.UnknowState
	}
}

func (d *decider) rounds(body string) int {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.checks[body]
}

func transaction(c *clients, r *report) {
	topic := c.createTopic("transaction")
	box := &inbox{}
	c.startConsumer("transaction-group", topic, "*", box.accept)

	// While one message is half, an ordinary one sent after it overtakes it.
	var seenWhileHalf []string
	d := &decider{checks: map[string]int{}}
	d.onHalf = func() {
		c.sendSync(newMessage(topic, "A", "bystander"))
		box.awaitCount("bystander", 1, soon)
		seenWhileHalf = box.bodies("")
	}
	p := c.newTransactionProducer(d)
	sendHalf := func(body string) {
		result, err := p.SendMessageInTransaction(context.Background(),
			newMessage(topic, "A", body))
		must("send half message", err)
		same("status", primitive.SendOK, result.Status)
	}

	r.check("transaction-commit", func() string { // before any other may be committed by its check
		sendHalf("commit")
		same("received while half", []string{"bystander"}, seenWhileHalf)
		box.awaitCount("commit", 1, soon)
		return "invisible until committed"
	})
	for _, body := range []string{"check-commit", "check-rollback", "check-again", "rollback"} {
		sendHalf(body)
	}
	r.check("transaction-checkback", func() string {
		box.awaitCount("check-commit", 1, checkLimit)
		return fmt.Sprintf("committed at check %d", d.rounds("check-commit"))
	})
	r.check("transaction-checkback-again", func() string {
		box.awaitCount("check-again", 1, checkLimit)
		require(d.rounds("check-again") >= 2, "%d checks", d.rounds("check-again"))
		return fmt.Sprintf("unknown at the first check, committed at check %d",
			d.rounds("check-again"))
	})
	r.check("transaction-rollback", func() string {
		await("check of the third message", checkLimit,
			func() bool { return d.rounds("check-rollback") >= 1 })
		c.sendSync(newMessage(topic, "A", "last"))
		box.awaitCount("last", 1, soon)
		received := map[string]bool{}
		for _, body := range box.bodies("") {
			received[body] = true
		}
		same("received", map[string]bool{"bystander": true, "commit": true, "check-commit": true,
			"check-again": true, "last": true}, received)
		return "neither at once nor by check-back delivered"
	})
	if os.Getenv("INTEROP_ONCE") != "" {
		r.check("transaction-once", func() string {
			same("messages", 5, len(box.bodies("")))
			return "no message twice"
		})
	}
}
