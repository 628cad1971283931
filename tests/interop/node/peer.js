'use strict';

// The ali-ons client as a test peer: node peer.js NAMESRV SCENARIO PREFIX. Runs one scenario,
// prints a PASS or FAIL line per check, and exits 0 only if there was at least one check and none
// failed.

const { Clients } = require('./clients');
const { Report } = require('./report');
const scenarios = require('./scenarios');

const LIMIT_MS = 120000; // beyond this a scenario is stuck

async function main(namesrv, scenario, prefix) {
  const report = new Report();
  const clients = new Clients(namesrv, prefix);
  const watchdog = setTimeout(() => {
    console.log(`FAIL ${scenario} still running after ${LIMIT_MS} ms`);
    process.exit(3);
  }, LIMIT_MS);
  try {
    await scenarios[scenario](clients, report);
    await clients.close();
  } catch (err) {
    report.fail(scenario, err);
  }
  clearTimeout(watchdog);
  process.exit(report.good() ? 0 : 1);
}

const [namesrv, scenario, prefix, ...rest] = process.argv.slice(2);
if (!prefix || rest.length || !Object.hasOwn(scenarios, scenario)) {
  const names = Object.keys(scenarios).join(' ');
  console.error(`usage: node peer.js NAMESRV SCENARIO PREFIX, SCENARIO one of ${names}`);
  process.exit(2);
}
main(namesrv, scenario, prefix);
