"""What scenarios say in MQTT, and whole sessions of it."""

import struct

from tests.support import mqtt

PUBREC, PUBREL, PUBCOMP = 5, 6, 7


def connect(client_id, version=mqtt.V311, **options):
    return mqtt.Connect(client_id, version, **options).encode()


def answer(kind, packet_id, version=mqtt.V311, tail=b""):
    """SUBACK, UNSUBACK, PUBACK, PUBREC, PUBREL, PUBCOMP."""
    properties = b"\0" if version == mqtt.V5 and tail else b""
    return mqtt.packet(kind, struct.pack("!H", packet_id) + properties + tail,
                       2 if kind == PUBREL else 0)


def suback(packet_id=1, version=mqtt.V311):
    return answer(mqtt.SUBACK, packet_id, version, b"\0")


def pingresp():
    return mqtt.packet(mqtt.PINGRESP)


def begin(talk, client_id, version=mqtt.V311, size=None, **options):
    """CONNECT and CONNACK."""
    talk.ask(connect(client_id, version, **options), mqtt.connack(version), size)
    return talk


def session(talk, client_id, version=mqtt.V311):
    """A life of some length, from CONNECT to the last FIN."""
    begin(talk, client_id, version)
    talk.ask(mqtt.subscribe("a/b", 0, 1, version), suback(1, version))
    talk.ask(mqtt.publish("a/b", b"at most once", version=version),
             mqtt.publish("a/b", b"at most once", version=version))
    talk.ask(mqtt.publish("c", b"at least once", 1, 2, version), answer(mqtt.PUBACK, 2, version))
    talk.ask(mqtt.publish("d", b"exactly once", 2, 3, version), answer(PUBREC, 3, version))
    talk.ask(answer(PUBREL, 3, version), answer(PUBCOMP, 3, version))
    talk.wait(0.5)
    talk.ask(mqtt.pingreq(), pingresp())
    talk.close(mqtt.disconnect())
