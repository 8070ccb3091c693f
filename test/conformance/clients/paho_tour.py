"""A subscriber and a publisher of Eclipse Paho's Python client: paho_tour.py HOST PORT VERSION.

Prints one line of JSON with what they have seen.
"""

import json
import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

host, port, version = sys.argv[1], int(sys.argv[2]), sys.argv[3]
protocol = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5": mqtt.MQTTv5}[version]
is5 = protocol == mqtt.MQTTv5
base = "paho/" + version
timeout = 30


class Session:
    """A client whose callbacks fill queues."""

    def __init__(self, name):
        own = {} if is5 else {"clean_session": False}
        if hasattr(mqtt, "CallbackAPIVersion"):
            own["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION1
        self.client = mqtt.Client(client_id=f"{name}-{version}", protocol=protocol, **own)
        self.connects, self.grants = queue.Queue(), queue.Queue()
        self.messages, self.ended = queue.Queue(), queue.Queue()
        self.client.on_connect = lambda c, u, flags, code, *rest: self.connects.put((flags, int(code.value if is5 else code)))
        self.client.on_subscribe = lambda c, u, mid, codes, *rest: self.grants.put([int(x.value if is5 else x) for x in codes])
        self.client.on_message = lambda c, u, message: self.messages.put(message)
        self.client.on_disconnect = lambda *rest: self.ended.put(True)

    def connect(self):
        own = {}
        if is5:
            kept = Properties(PacketTypes.CONNECT)
            kept.SessionExpiryInterval = 600
            own = {"clean_start": False, "properties": kept}
        self.client.connect(host, port, 60, **own)
        self.client.loop_start()
        flags, code = self.connects.get(timeout=timeout)
        return {"code": code, "present": flags["session present"]}

    def publish(self, topic, payload, qos, retain=False):
        own = {}
        if is5:
            said = Properties(PacketTypes.PUBLISH)
            said.UserProperty = [("b", "1"), ("a", "2"), ("b", "3")]
            said.ResponseTopic = base + "/answers"
            own = {"properties": said}
        self.client.publish(topic, payload, qos, retain, **own).wait_for_publish(timeout)

    def take(self, count):
        return [self.messages.get(timeout=timeout) for _ in range(count)]

    def disconnect(self):
        self.client.disconnect()
        self.ended.get(timeout=timeout)
        self.client.loop_stop()


subscriber, publisher = Session("subscriber"), Session("publisher")
seen = {"first": subscriber.connect(), "publisher": publisher.connect()}
subscriber.client.subscribe([(base + "/+", 2), (base + "/deep/#", 1)])
seen["granted"] = subscriber.grants.get(timeout=timeout)
for qos in (0, 1, 2):
    publisher.publish(base + "/live", str(qos), qos)
live = subscriber.take(3)
seen["live"] = [[m.topic, m.payload.decode(), m.qos, m.retain] for m in live]
if is5:
    seen["properties"] = [live[1].properties.UserProperty, live[1].properties.ResponseTopic]
subscriber.disconnect()
for qos in (1, 2):
    publisher.publish(base + "/away", str(qos), qos)
seen["second"] = subscriber.connect()
seen["away"] = [[m.payload.decode(), m.qos] for m in subscriber.take(2)]
publisher.publish(base + "/kept", "kept", 1, True)
subscriber.take(1)
late = Session("late")
late.connect()
late.client.subscribe(base + "/kept", 1)
[kept] = late.take(1)
seen["kept"] = [kept.payload.decode(), kept.qos, bool(kept.retain)]
for one in (subscriber, publisher, late):
    one.disconnect()
print(json.dumps(seen))
