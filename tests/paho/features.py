"""Observes each feature of MQTT 5.0 of a broker with paho-mqtt, and prints a line "name: observation" for each.

Usage: features.py PORT. The caller compares the lines of two brokers. This script decides nothing; a message that
does not arrive in time is the observation "nothing".
"""

import queue
import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

PORT = int(sys.argv[1])
PATIENCE = 20
# Seconds to wait for a message that should not arrive.
SHORT = 1.0


def properties(packet, **values):
    result = Properties(packet)
    for name, value in values.items():
        setattr(result, name, value)
    return result


class Client:
    """A connected client of 5.0, which collects messages and answers in queues."""

    def __init__(self, name, clean=True, will=None, manual=False, keep_alive=60, version=5, **connect):
        self.messages, self.connected, self.answers, self.ended = (queue.Queue() for _ in range(4))
        self.published = queue.Queue()
        self.paho = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=name,
            protocol=mqtt.MQTTv5,
            manual_ack=manual,
            reconnect_on_failure=False,
        )
        self.paho.on_message = lambda _c, _u, message: self.messages.put(message)
        self.paho.on_connect = lambda _c, _u, flags, reason, given: self.connected.put((flags, reason, given))
        self.paho.on_subscribe = lambda _c, _u, _m, reasons, _p: self.answers.put(reasons)
        self.paho.on_unsubscribe = lambda _c, _u, _m, reasons, _p: self.answers.put(reasons)
        self.paho.on_publish = lambda _c, _u, _m, reason, _p: self.published.put(reason)
        self.paho.on_disconnect = lambda _c, _u, _f, reason, _p: self.ended.put(reason)
        if will:
            self.paho.will_set(**will)
        self.paho.connect(
            "127.0.0.1",
            PORT,
            keepalive=keep_alive,
            clean_start=clean,
            properties=properties(PacketTypes.CONNECT, **connect),
        )
        self.paho.loop_start()
        self.flags, self.reason, self.given = self.connected.get(timeout=PATIENCE)

    def subscribe(self, *filters, qos=2, **options):
        given = {name: options.pop(name) for name in list(options) if name[0].isupper()}
        pairs = [(each, SubscribeOptions(qos=qos, **options)) for each in filters]
        self.paho.subscribe(pairs, properties=properties(PacketTypes.SUBSCRIBE, **given))
        return [reason.value for reason in self.answers.get(timeout=PATIENCE)]

    def unsubscribe(self, topic_filter):
        self.paho.unsubscribe(topic_filter)
        return [reason.value for reason in self.answers.get(timeout=PATIENCE)]

    def publish(self, topic, payload="x", qos=1, retain=False, **given):
        self.paho.publish(topic, payload, qos, retain, properties(PacketTypes.PUBLISH, **given))
        if qos == 0:
            return 0
        return self.published.get(timeout=PATIENCE).value

    def receive(self, count=1, patience=PATIENCE):
        """Returns the next messages: fewer than `count` if they do not arrive in time."""
        messages = []
        try:
            while len(messages) < count:
                messages.append(self.messages.get(timeout=patience))
        except queue.Empty:
            pass
        return messages

    def payloads(self, count=1, patience=PATIENCE):
        return [message.payload.decode() for message in self.receive(count, patience)] or "nothing"

    def marked(self, publisher, topic, qos=1):
        """Publishes a mark and returns the messages before it. No other messages of this QoS will arrive."""
        publisher.publish(topic, "the mark", qos)
        payloads = []
        while (payload := self.receive()[0].payload.decode()) != "the mark":
            payloads.append(payload)
        return payloads

    def end(self, expiry=None):
        given = None
        if expiry is not None:
            given = properties(PacketTypes.DISCONNECT, SessionExpiryInterval=expiry)
        self.paho.disconnect(properties=given)
        self.ended.get(timeout=PATIENCE)
        self.paho.loop_stop()

    def vanish(self):
        """Closes the connection without DISCONNECT."""
        self.paho.socket().shutdown(2)
        self.ended.get(timeout=PATIENCE)
        self.paho.loop_stop()


FEATURES = []


def feature(observe):
    FEATURES.append(observe)
    return observe


@feature
def connack():
    client = Client("")
    given = {name: value for name, value in client.given.json().items()}
    assigned = given.pop("AssignedClientIdentifier")
    yield sorted(given.items()), assigned[:5], len(assigned), client.flags.session_present
    client.end()


@feature
def server_keep_alive():
    for keep_alive in (60, 6000):
        client = Client(f"alive{keep_alive}", keep_alive=keep_alive)
        yield client.given.json().get("ServerKeepAlive")
        client.end()


@feature
def response_information():
    client = Client("asks", RequestResponseInformation=1)
    yield client.given.json().get("ResponseInformation")
    client.end()


@feature
def sessions_and_their_expiry():
    for expiry in (None, 1, 100):
        connect = {} if expiry is None else {"SessionExpiryInterval": expiry}
        client = Client("session", clean=True, **connect)
        yield client.flags.session_present
        client.subscribe("s/+")
        client.end()
        client = Client("session", clean=False, **connect)
        yield client.flags.session_present
        client.end()
        if expiry == 1:
            time.sleep(2.5)
            client = Client("session", clean=False, **connect)
            yield "later", client.flags.session_present
            client.end()
    client = Client("session", clean=False, SessionExpiryInterval=100)
    client.end(expiry=0)
    client = Client("session", clean=False)
    yield "ended by DISCONNECT", client.flags.session_present
    client.end()


@feature
def messages_wait_in_order():
    other = Client("other")
    for qos in (1, 2):
        client = Client("waits", SessionExpiryInterval=100)
        client.subscribe("w/+", qos=2)
        client.end()
        other.publish("w/0", "not kept", qos=0)
        for number in range(30):
            other.publish(f"w/{number % 3}", str(number), qos=qos)
        client = Client("waits", clean=False, SessionExpiryInterval=100)
        yield client.marked(other, "w/m", qos=qos)
        client.end(expiry=0)
    other.end()


@feature
def messages_expire():
    client = Client("late", SessionExpiryInterval=100)
    client.subscribe("e/+")
    client.end()
    other = Client("other")
    other.publish("e/1", "short", MessageExpiryInterval=1)
    other.publish("e/2", "long", MessageExpiryInterval=100)
    other.publish("e/r", "short", retain=True, MessageExpiryInterval=1)
    time.sleep(2.5)
    client = Client("late", clean=False)
    message = client.receive()[0]
    left = message.properties.MessageExpiryInterval
    yield message.payload, 90 < left < 100
    client.subscribe("e/r")
    yield client.marked(other, "e/r")
    client.end()
    other.end()


@feature
def wills():
    watcher = Client("watcher")
    watcher.subscribe("will/#")
    will = {"topic": "will/a", "payload": "now", "qos": 1}
    Client("w1", will=will).vanish()
    yield watcher.payloads()
    Client("w2", will=will).end()
    yield watcher.marked(watcher, "will/m")
    given = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=1, ContentType="text", UserProperty=("a", "b"))
    delayed = {"topic": "will/d", "payload": "later", "qos": 2, "properties": given}
    # After the delay the will is published, with its properties.
    Client("w3", will=delayed, SessionExpiryInterval=100).vanish()
    yield watcher.marked(watcher, "will/m")
    message = watcher.receive()[0]
    yield message.payload, message.properties.json()
    # The client resumes its session in time, so the will is not published.
    client = Client("w4", will=delayed, SessionExpiryInterval=100)
    client.vanish()
    Client("w4", clean=False).end()
    time.sleep(2.0)
    yield watcher.marked(watcher, "will/m")
    # The session ends before the delay, and the will is published then.
    given = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=1000)
    delayed = {"topic": "will/e", "payload": "at the end", "properties": given}
    Client("w5", will=delayed, SessionExpiryInterval=1).vanish()
    yield watcher.payloads()
    watcher.end()


@feature
def receive_maximum_of_the_client():
    client = Client("slow", manual=True, ReceiveMaximum=2)
    client.subscribe("rm")
    other = Client("other")
    for number in range(5):
        other.publish("rm", str(number))
    first = client.receive(5, SHORT)
    yield [message.payload for message in first]
    for message in first:
        client.paho.ack(message.mid, message.qos)
    yield [message.payload for message in client.receive(5, SHORT)]
    client.end()
    other.end()


@feature
def maximum_packet_size_of_the_client():
    client = Client("small", MaximumPacketSize=100)
    client.subscribe("mp")
    other = Client("other")
    other.publish("mp", "x" * 200)
    yield client.marked(other, "mp")
    client.end()
    other.end()


@feature
def topic_aliases_of_the_client():
    client = Client("aliased")
    client.subscribe("ta/+")
    other = Client("other")
    other.publish("ta/1", "named", TopicAlias=1)
    other.publish("", "aliased", TopicAlias=1)
    other.publish("ta/2", "renamed", TopicAlias=1)
    other.publish("", "aliased", TopicAlias=1)
    yield [(message.topic, message.payload) for message in client.receive(4)]
    client.end()
    other.end()


@feature
def shared_subscriptions():
    members = [Client(f"member{number}") for number in range(3)]
    for member in members:
        yield member.subscribe("$share/group/sh")
    plain = Client("plain")
    plain.subscribe("sh")
    other = Client("other")
    for number in range(9):
        other.publish("sh", str(number))
    yield plain.payloads(9)
    # Each member gets a third of the messages. The broker chooses the first member.
    yield sorted(sum((member.payloads(3) for member in members), []))
    yield [member.payloads(1, SHORT) for member in members]
    # Shared subscriptions get no retained messages.
    other.publish("sh/r", "kept", retain=True)
    members[0].subscribe("$share/group/sh/r")
    yield members[0].payloads(1, SHORT)
    other.publish("sh/r", "", retain=True)
    for client in [*members, plain, other]:
        client.end()


@feature
def subscription_identifiers():
    client = Client("identified")
    client.subscribe("si/a", SubscriptionIdentifier=7)
    other = Client("other")
    other.publish("si/a")
    yield client.receive()[0].properties.SubscriptionIdentifier
    client.subscribe("si/a", SubscriptionIdentifier=8)
    other.publish("si/a")
    yield client.receive()[0].properties.SubscriptionIdentifier
    client.end()
    other.end()


@feature
def overlapping_subscriptions():
    client = Client("overlaps")
    client.subscribe("ov/#", qos=1, SubscriptionIdentifier=1)
    client.subscribe("ov/+", qos=2, SubscriptionIdentifier=2)
    other = Client("other")
    other.publish("ov/a", qos=2)
    messages = client.receive(2, SHORT)
    yield [(message.qos, sorted(message.properties.SubscriptionIdentifier)) for message in messages]
    client.end()
    other.end()


@feature
def retained_messages():
    other = Client("other")
    other.publish("re/a", "kept", retain=True)
    client = Client("retains")
    for handling in (0, 1, 2, 1):
        client.subscribe("re/a", retainHandling=handling)
        client.publish("re/m")
        yield handling, client.marked(other, "re/a")
        if handling == 2:
            client.unsubscribe("re/a")
    for keeps in (False, True):
        client.subscribe("re/b", retainAsPublished=keeps)
        other.publish("re/b", "live", retain=True)
        message = client.receive()[0]
        yield keeps, message.retain
        client.unsubscribe("re/b")
        other.publish("re/b", "", retain=True)
    other.publish("re/a", "", retain=True)
    client.subscribe("re/a", retainHandling=0)
    yield client.marked(other, "re/a")
    client.end()
    other.end()


@feature
def no_local():
    client = Client("own")
    client.subscribe("nl", noLocal=True)
    client.publish("nl", "mine")
    other = Client("other")
    yield client.marked(other, "nl")
    client.end()
    other.end()


@feature
def properties_are_passed_on():
    client = Client("reads")
    client.subscribe("pr")
    other = Client("other")
    given = properties(
        PacketTypes.PUBLISH,
        PayloadFormatIndicator=1,
        ContentType="text/plain",
        ResponseTopic="answers/here",
        CorrelationData=b"\x00\x01\xff",
    )
    given.UserProperty = [("a", "1"), ("a", "2"), ("b", "")]
    other.paho.publish("pr", "x", 1, properties=given)
    message = client.receive()[0].properties
    yield message.PayloadFormatIndicator, message.ContentType, message.ResponseTopic
    yield message.CorrelationData, message.UserProperty
    client.end()
    other.end()


@feature
def quality_of_service():
    other = Client("other")
    for granted in range(3):
        client = Client(f"qos{granted}")
        yield client.subscribe("qs/+", qos=granted)
        for qos in range(3):
            other.publish(f"qs/{qos}", qos=qos)
        yield sorted((message.topic, message.qos) for message in client.receive(3))
        client.end()
    other.end()


@feature
def reason_codes():
    client = Client("asks")
    yield client.publish("rc/nobody", qos=1), client.publish("rc/nobody", qos=2)
    client.subscribe("rc/somebody")
    yield client.publish("rc/somebody", qos=1), client.publish("rc/somebody", qos=2)
    yield client.unsubscribe("rc/somebody"), client.unsubscribe("rc/somebody")
    client.end()


@feature
def take_over():
    first = Client("same", SessionExpiryInterval=100)
    first.subscribe("to")
    second = Client("same", clean=False, SessionExpiryInterval=100)
    # paho ignores the reason code of a DISCONNECT without properties.
    yield first.ended.get(timeout=PATIENCE) is not None, second.flags.session_present
    first.paho.loop_stop()
    second.publish("to", "still there")
    yield second.payloads()
    second.end(expiry=0)


@feature
def topics_of_the_broker():
    client = Client("curious")
    client.subscribe("#", "+/broker/version")
    client.publish("ts", "mine")
    # The other features have removed their retained messages, so only "mine" comes before the mark.
    yield client.marked(client, "ts")
    client.publish("$SYS/broker/version", "forged", retain=True)
    client.subscribe("$SYS/broker/version")
    message = client.receive()[0]
    yield message.topic, message.retain, message.payload != b"forged"
    client.end()


# The features run one after the other, because some subscribe to all topics.
def run(observe):
    try:
        observations = list(observe())
    except Exception as error:  # the broker may answer in any way
        observations = f"fails: {type(error).__name__} {error}"
    print(f"{observe.__name__}: {observations}", flush=True)


names = {observe.__name__ for observe in FEATURES}
assert len(names) == len(FEATURES)
for each in FEATURES:
    run(each)
print("all observed")
