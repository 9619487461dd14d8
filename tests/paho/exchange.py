"""Tests each QoS, retained messages, a will, and a session whose messages wait, with paho-mqtt.

Usage: exchange.py PORT VERSION [TRANSPORT CAFILE], where VERSION is 31, 311 or 5 and TRANSPORT is tcp,
tls, ws or wss. Exits with status 0 and the line "all passed", or with a failed assertion.
"""

import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PORT, VERSION = int(sys.argv[1]), sys.argv[2]
TRANSPORT, CAFILE = (sys.argv[3:] + ["tcp", ""])[:2]
PROTOCOL = {"31": mqtt.MQTTv31, "311": mqtt.MQTTv311, "5": mqtt.MQTTv5}[VERSION]
PATIENCE = 30


class Client:
    """A connected client, which collects messages and answers in queues."""

    def __init__(self, name, clean=True, will=None):
        self.messages, self.connected, self.subscribed = queue.Queue(), queue.Queue(), queue.Queue()
        arguments = {} if VERSION == "5" else {"clean_session": clean}
        self.paho = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=name,
            protocol=PROTOCOL,
            transport="websockets" if TRANSPORT in ("ws", "wss") else "tcp",
            **arguments,
        )
        if TRANSPORT in ("tls", "wss"):
            self.paho.tls_set(CAFILE)
        self.paho.on_message = lambda _c, _u, message: self.messages.put(message)
        self.paho.on_connect = lambda _c, _u, flags, reason, _p: self.connected.put((flags, reason))
        self.paho.on_subscribe = lambda _c, _u, _m, reasons, _p: self.subscribed.put(reasons)
        if will:
            self.paho.will_set("will", will, qos=2)
        arguments = {}
        if VERSION == "5":
            arguments["clean_start"] = clean
            if not clean:
                arguments["properties"] = Properties(PacketTypes.CONNECT)
                arguments["properties"].SessionExpiryInterval = 3600
        self.paho.connect("127.0.0.1", PORT, **arguments)
        self.paho.loop_start()
        self.flags, reason = self.connected.get(timeout=PATIENCE)
        assert not reason.is_failure, reason

    def subscribe(self, topic, qos):
        self.paho.subscribe(topic, qos)
        reasons = self.subscribed.get(timeout=PATIENCE)
        assert [reason.value for reason in reasons] == [qos], reasons

    def publish(self, topic, payload, **options):
        info = self.paho.publish(topic, payload, **options)
        info.wait_for_publish(PATIENCE)
        assert info.is_published()

    def expect(self, topic, payload, qos=None, retain=False):
        message = self.messages.get(timeout=PATIENCE)
        assert (message.topic, message.payload) == (topic, payload), (message.topic, message.payload)
        assert qos is None or message.qos == qos, message.qos
        assert message.retain == retain
        return message

    def leave(self):
        self.paho.disconnect()
        self.paho.loop_stop()

    def die(self):
        self.paho.loop_stop()
        self.paho.socket().close()


def each_qos():
    subscriber, publisher = Client("sub"), Client("pub")
    for qos in (0, 1, 2):
        subscriber.subscribe(f"q{qos}/#", qos)
        for number in range(50):
            publisher.publish(f"q{qos}/x", f"{number}".encode(), qos=qos)
        for number in range(50):
            subscriber.expect(f"q{qos}/x", f"{number}".encode(), qos)
    subscriber.leave()
    publisher.leave()


def retained():
    publisher = Client("pub")
    publisher.publish("r/a", b"old", qos=1, retain=True)
    publisher.publish("r/a", b"new", qos=1, retain=True)
    subscriber = Client("sub")
    subscriber.subscribe("r/+", 1)
    subscriber.expect("r/a", b"new", 1, retain=True)
    publisher.publish("r/a", b"live", qos=1, retain=True)
    subscriber.expect("r/a", b"live", 1, retain=False)
    publisher.publish("r/a", b"", qos=1, retain=True)
    subscriber.expect("r/a", b"", 1)
    subscriber.leave()
    late = Client("late")
    late.subscribe("r/#", 1)
    publisher.publish("r/end", b".", qos=1)
    late.expect("r/end", b".")
    late.leave()
    publisher.leave()


def will():
    witness = Client("witness")
    witness.subscribe("will", 2)
    Client("leaving", will=b"left").leave()
    Client("dying", will=b"died").die()
    witness.expect("will", b"died", 2)
    witness.leave()


def session():
    for qos in (1, 2):
        name = f"session{VERSION}{qos}"
        first = Client(name, clean=False)
        first.subscribe("s/#", qos)
        first.leave()
        publisher = Client("pub")
        for number in range(10):
            publisher.publish("s/x", f"{number}".encode(), qos=qos)
        second = Client(name, clean=False)
        if VERSION != "31":
            assert second.flags.session_present
        for number in range(10):
            second.expect("s/x", f"{number}".encode(), qos)
        second.leave()
        third = Client(name, clean=True)
        assert not third.flags.session_present
        third.leave()
        publisher.leave()


def properties():
    """The properties of a message of 5.0 arrive with the message."""
    subscriber, publisher = Client("sub"), Client("pub")
    sent = Properties(PacketTypes.PUBLISH)
    sent.PayloadFormatIndicator = 1
    sent.ContentType = "text/plain"
    sent.ResponseTopic = "answers"
    sent.CorrelationData = b"\x00\xff"
    sent.UserProperty = [("a", "1"), ("b", "2"), ("a", "3")]
    subscribe = Properties(PacketTypes.SUBSCRIBE)
    subscribe.SubscriptionIdentifier = 200
    subscriber.paho.subscribe("p/#", options=mqtt.SubscribeOptions(qos=1), properties=subscribe)
    subscriber.subscribed.get(timeout=PATIENCE)
    publisher.publish("p/x", b"payload", qos=1, properties=sent)
    got = subscriber.expect("p/x", b"payload", 1).properties
    assert got.PayloadFormatIndicator == 1 and got.ContentType == "text/plain"
    assert got.ResponseTopic == "answers" and got.CorrelationData == b"\x00\xff"
    assert got.UserProperty == [("a", "1"), ("b", "2"), ("a", "3")], got.UserProperty
    assert got.SubscriptionIdentifier == [200], got.SubscriptionIdentifier
    subscriber.leave()
    publisher.leave()


each_qos()
retained()
will()
session()
if VERSION == "5":
    properties()
print("all passed")
