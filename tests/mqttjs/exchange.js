// Exchanges messages of each QoS, retained messages and a will between MQTT.js and the programs of a test.
//
// Usage: node exchange.js MODULE PORT TRANSPORT VERSION PREFIX, where MODULE is the folder of MQTT.js, TRANSPORT tcp or
// ws, and VERSION 3, 4 or 5. Prints "subscribed" when the messages to PREFIX/to may come, and "all passed" at its end.

"use strict";

const [module_, port, transport, version, prefix] = process.argv.slice(2);
const mqtt = require(module_);

function fail(reason) {
  console.error(reason);
  process.exit(1);
}

function connect(name, options) {
  const url = transport === "ws" ? `ws://127.0.0.1:${port}/mqtt` : `mqtt://127.0.0.1:${port}`;
  const protocolVersion = Number(version);
  const protocolId = protocolVersion === 3 ? "MQIsdp" : "MQTT";
  const clientId = `${prefix}-${name}`;
  const all = { clientId, protocolVersion, protocolId, reconnectPeriod: 0, ...options };
  const client = mqtt.connect(url, all);
  client.on("error", fail);
  return client;
}

/* Calls a function whose last argument is a callback of the usual kind. */
const finished = (call) =>
  new Promise((done) => call((error, result) => (error ? fail(error) : done(result))));

async function publish(client) {
  for (const qos of [0, 1, 2]) {
    await finished((back) => client.publish(`${prefix}/from/q${qos}`, "message", { qos }, back));
  }
  const kept = { qos: 1, retain: true };
  await finished((back) => client.publish(`${prefix}/from/kept`, "kept", kept, back));
}

async function leaveWill() {
  const will = { topic: `${prefix}/from/will`, payload: "gone", qos: 1, retain: false };
  const client = connect("dying", { will });
  await new Promise((done) => client.once("connect", done));
  client.stream.destroy();
}

async function main() {
  const client = connect("client", {});
  const waiting = new Map([
    ["kept", "1 true kept"],
    ["q0", "0 false message"],
    ["q1", "1 false message"],
    ["q2", "2 false message"],
  ]);
  const received = new Promise((done) => {
    client.on("message", (topic, payload, packet) => {
      const name = topic.slice(`${prefix}/to/`.length);
      const seen = `${packet.qos} ${packet.retain} ${payload}`;
      if (waiting.get(name) !== seen) fail(`unexpected on ${topic}: ${seen}`);
      waiting.delete(name);
      if (waiting.size === 0) done();
    });
  });
  await new Promise((done) => client.once("connect", done));
  const granted = await finished((back) => client.subscribe(`${prefix}/to/#`, { qos: 2 }, back));
  if (granted[0].qos !== 2) fail("QoS 2 was not granted");
  console.log("subscribed");
  await received;
  await publish(client);
  await leaveWill();
  await new Promise((done) => client.end(false, {}, done));
  console.log("all passed");
}

main().catch(fail);
