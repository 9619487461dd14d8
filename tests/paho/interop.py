"""Exchanges messages of each QoS, retained messages and a will between paho-mqtt 1.6 or 2.x and the programs of a test.

Usage: interop.py PORT TRANSPORT VERSION PREFIX, where TRANSPORT is tcp or ws and VERSION 31, 311 or 5. Prints
"subscribed" when the messages to PREFIX/to may come, and "all passed" at its end.
"""

import queue
import sys

import paho.mqtt.client as mqtt

PORT, TRANSPORT, VERSION, PREFIX = int(sys.argv[1]), *sys.argv[2:5]
PROTOCOL = {"31": mqtt.MQTTv31, "311": mqtt.MQTTv311, "5": mqtt.MQTTv5}[VERSION]
PATIENCE = 30


def connect(name, will=None):
    """A connected client, which collects messages and answers in queues."""
    arguments = {"client_id": f"{PREFIX}-{name}", "protocol": PROTOCOL}
    arguments["transport"] = {"tcp": "tcp", "ws": "websockets"}[TRANSPORT]
    if hasattr(mqtt, "CallbackAPIVersion"):  # paho-mqtt 2.0 or later
        arguments["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION2
    client = mqtt.Client(**arguments)
    client.messages, client.granted, connected = queue.Queue(), queue.Queue(), queue.Queue()
    client.on_message = lambda _client, _data, message: client.messages.put(message)
    client.on_connect = lambda _client, _data, _flags, reason, *_rest: connected.put(reason)
    client.on_subscribe = lambda _client, _data, _mid, granted, *_rest: client.granted.put(granted)
    if will:
        client.will_set(will, "gone", qos=1)
    client.connect("127.0.0.1", PORT)
    client.loop_start()
    reason = connected.get(timeout=PATIENCE)
    assert reason == 0, reason
    return client


def receive(client):
    expected = {
        "kept": (1, True, b"kept"),
        "q0": (0, False, b"message"),
        "q1": (1, False, b"message"),
        "q2": (2, False, b"message"),
    }
    while expected:
        message = client.messages.get(timeout=PATIENCE)
        seen = (message.qos, bool(message.retain), message.payload)
        assert seen == expected.pop(message.topic[len(f"{PREFIX}/to/"):]), (message.topic, seen)


def publish(client):
    sent = [(f"q{qos}", "message", qos, False) for qos in (0, 1, 2)]
    for name, payload, qos, retain in [*sent, ("kept", "kept", 1, True)]:
        info = client.publish(f"{PREFIX}/from/{name}", payload, qos=qos, retain=retain)
        info.wait_for_publish(PATIENCE)
        assert info.is_published()


def leave_will():
    dying = connect("dying", will=f"{PREFIX}/from/will")
    dying.loop_stop()
    dying.socket().close()


client = connect("client")
client.subscribe(f"{PREFIX}/to/#", 2)
granted = client.granted.get(timeout=PATIENCE)
assert granted[0] == 2, granted
print("subscribed", flush=True)
receive(client)
publish(client)
leave_will()
client.disconnect()
client.loop_stop()
print("all passed")
