'use strict';

const assert = require('assert');
const net = require('net');
const { Consumer, Message, Producer } = require('ali-ons');
const { SOON_MS, same, until } = require('./report');

const QUEUES = 4;
const CREATE_TOPIC = 17;
const ROUTE = 105;
const POLL_MS = 1000; // for new routes and group members; the client defaults to 30 and 10 seconds

// What the client logs; errors of its own go to stderr, the rest is too much.
const logger = {
  debug() {},
  info() {},
  warn() {},
  error(...args) { console.error('client:', ...args); },
};

// The deliveries of one consumer, in the order they came.
class Inbox {
  constructor() {
    this.all = [];
  }

  add(message) {
    this.all.push({
      body: message.body.toString(),
      message,
      topic: message.topic,
      reconsumeTimes: message.reconsumeTimes,
      at: Date.now(),
    });
  }

  of(prefix) {
    return this.all.filter(d => d.body.startsWith(prefix));
  }

  bodies(prefix) {
    return this.of(prefix).map(d => d.body);
  }

  async untilCount(prefix, count, limitMs) {
    await until(`${count} deliveries of ${prefix}`, () => this.of(prefix).length >= count, limitMs);
    return this.of(prefix);
  }
}

// One request of our own making, without a body: the client has no call that creates a topic.
function call(address, code, extFields) {
  const [host, port] = address.split(':');
  const header = Buffer.from(JSON.stringify({
    code, extFields, flag: 0, language: 'NODE_JS', opaque: 1, version: 479,
  }));
  const frame = Buffer.alloc(8 + header.length);
  frame.writeInt32BE(4 + header.length, 0);
  frame.writeInt32BE(header.length, 4);
  header.copy(frame, 8);
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    const socket = net.connect(Number(port), host, () => socket.write(frame));
    socket.setTimeout(5000, () => socket.destroy(new Error(`no answer from ${address}`)));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`${address} closed the connection`)));
    socket.on('data', chunk => {
      received = Buffer.concat([ received, chunk ]);
      if (received.length < 8 || received.length < 4 + received.readInt32BE(0)) {
        return;
      }
      const split = 8 + (received.readInt32BE(4) & 0xffffff);
      resolve({ header: JSON.parse(received.subarray(8, split)), body: received.subarray(split) });
      socket.destroy();
    });
  });
}

// Makes the clients of one scenario and closes them again, newest first. Topics and groups are
// named after the prefix from the command line, so that nothing of an earlier run is in the way.
class Clients {
  constructor(namesrv, prefix) {
    this.namesrv = namesrv;
    this.prefix = prefix;
    this.instances = 0;
    this.opened = [];
  }

  name(suffix) {
    return `${this.prefix}-${suffix}`;
  }

  async open(Type, options) {
    const client = new Type({
      nameSrv: this.namesrv,
      httpclient: { request() {} }, // never called when nameSrv is given, but asked for
      clientIP: '127.0.0.1',
      instanceName: this.name(`i${this.instances++}`),
      pollNameServerInteval: POLL_MS,
      rebalanceInterval: POLL_MS,
      logger,
      ...options,
    });
    // Without a listener one unknown retry topic would end the process.
    client.on('error', err => console.error('client:', err.message));
    await client.ready();
    this.opened.push(client);
    return client;
  }

  async close() {
    for (const client of this.opened.reverse()) {
      await client.close();
    }
  }

  async send(message) {
    if (!this.producer) {
      this.producer = await this.open(Producer, { producerGroup: this.name('producer') });
    }
    const result = await this.producer.send(message);
    same('status', 'SEND_OK', result.sendStatus);
    return result;
  }

  // A push consumer that reads from the oldest message on.
  async consume(group, topic, tags, handler, options = {}) {
    const consumer = await this.open(Consumer, {
      consumerGroup: this.name(group),
      consumeFromWhere: 'CONSUME_FROM_FIRST_OFFSET',
      ...options,
    });
    consumer.subscribe(topic, tags, handler);
    return consumer;
  }

  async route(topic) {
    const { header, body } = await call(this.namesrv, ROUTE, { topic });
    return header.code === 0 ? JSON.parse(body).brokerDatas : [];
  }

  // Makes a topic of 4 queues on every broker and waits until its route is known.
  async createTopic(suffix) {
    const topic = this.name(suffix);
    const brokers = await this.route('TBW102');
    assert(brokers.length, 'the name server knows no broker that creates topics');
    for (const broker of brokers) {
      const { header } = await call(broker.brokerAddrs[0], CREATE_TOPIC, {
        topic, defaultTopic: 'TBW102', readQueueNums: QUEUES, writeQueueNums: QUEUES, perm: 6,
        topicFilterType: 'SINGLE_TAG', topicSysFlag: 0, order: false,
      });
      assert(header.code === 0, `create topic: code ${header.code}, ${header.remark}`);
    }
    await until(`route of ${topic}`, async () => (await this.route(topic)).length > 0, SOON_MS);
    return topic;
  }
}

module.exports = { Clients, Inbox, Message, Consumer, QUEUES };
