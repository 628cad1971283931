'use strict';

const assert = require('assert');

const SOON_MS = 20000; // how long a check waits for something the broker ought to do at once

// Counts checks. A check is an async function that returns a detail for the reader or throws.
class Report {
  constructor() {
    this.passed = 0;
    this.failed = 0;
  }

  async check(name, body) {
    try {
      const detail = await body();
      this.passed++;
      console.log(`PASS ${name} ${detail}`);
    } catch (err) {
      this.fail(name, err);
    }
  }

  fail(name, err) {
    this.failed++;
    console.error(err);
    console.log(`FAIL ${name} ${err.message.replace(/\s+/g, ' ')}`);
  }

  good() {
    return this.failed === 0 && this.passed > 0;
  }
}

function same(what, expected, actual) {
  assert.deepStrictEqual(actual, expected,
    `${what}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`);
}

// Each element of expected once and nothing else, in any order.
function sameElements(what, expected, actual) {
  const missing = expected.filter(e => !actual.includes(e));
  const extra = actual.filter(a => !expected.includes(a));
  assert(missing.length + extra.length === 0 && expected.length === actual.length,
    `${what}: expected ${expected.length}, got ${actual.length}; ` +
    `missing ${missing}, unexpected ${extra}`);
}

async function until(what, condition, limitMs = SOON_MS) {
  const deadline = Date.now() + limitMs;
  while (!await condition()) {
    assert(Date.now() < deadline, `not within ${limitMs} ms: ${what}`);
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

module.exports = { Report, SOON_MS, same, sameElements, until };
