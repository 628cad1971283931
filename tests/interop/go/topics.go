package main

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"time"
)

// Topics are made with a frame of our own: the client's admin wants to be told the broker's
// address, which it does not let one ask for.

const (
	codeCreateTopic = 17
	codeRoute       = 105
	queues          = 4
)

type header struct {
	Code      int               `json:"code"`
	ExtFields map[string]string `json:"extFields,omitempty"`
	Flag      int               `json:"flag"`
	Language  string            `json:"language"`
	Opaque    int               `json:"opaque"`
	Remark    string            `json:"remark,omitempty"`
	Version   int               `json:"version"`
}

// call sends one request without a body and returns the answer's header and body.
func call(address string, code int, fields map[string]string) (header, []byte, error) {
	var answer header
	conn, err := net.DialTimeout("tcp", address, 3*time.Second)
	if err != nil {
		return answer, nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	text, err := json.Marshal(header{Code: code, ExtFields: fields, Language: "GO", Opaque: 1,
		Version: 479})
	if err != nil {
		return answer, nil, err
	}
	frame := make([]byte, 8, 8+len(text))
	binary.BigEndian.PutUint32(frame, uint32(4+len(text)))
	binary.BigEndian.PutUint32(frame[4:], uint32(len(text)))
	if _, err = conn.Write(append(frame, text...)); err != nil {
		return answer, nil, err
	}
	var lengths [8]byte
	if _, err = io.ReadFull(conn, lengths[:]); err != nil {
		return answer, nil, err
	}
	rest := make([]byte, binary.BigEndian.Uint32(lengths[:])-4)
	if _, err = io.ReadFull(conn, rest); err != nil {
		return answer, nil, err
	}
	split := binary.BigEndian.Uint32(lengths[4:]) & 0xffffff
	err = json.Unmarshal(rest[:split], &answer)
	return answer, rest[split:], err
}

type route struct {
	BrokerDatas []struct {
		BrokerAddrs map[string]string `json:"brokerAddrs"`
	} `json:"brokerDatas"`
}

func (c *clients) route(topic string) (route, bool) {
	var r route
	answer, body, err := call(c.namesrv, codeRoute, map[string]string{"topic": topic})
	return r, err == nil && answer.Code == 0 && json.Unmarshal(body,
		&r) == nil && len(r.BrokerDatas) > 0
}

// createTopic makes a topic of 4 queues on every broker and waits until its route is known.
func (c *clients) createTopic(suffix string) string {
	topic := c.name(suffix)
	defaults, _ := c.route("TBW102")
	require(len(defaults.BrokerDatas) > 0, "the name server knows no broker that creates topics")
	for _, broker := range defaults.BrokerDatas {
		answer, _, err := call(broker.BrokerAddrs["0"], codeCreateTopic, map[string]string{
			"topic": topic, "defaultTopic": "TBW102", "readQueueNums": "4", "writeQueueNums": "4",
			"perm": "6", "topicFilterType": "SINGLE_TAG", "topicSysFlag": "0", "order": "false",
		})
		must("create topic", err)
		require(answer.Code == 0, "create topic: code %d, %s", answer.Code, answer.Remark)
	}
	await("route of "+topic, soon, func() bool { _, known := c.route(topic); return known })
	return topic
}
