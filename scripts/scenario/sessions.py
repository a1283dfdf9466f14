"""Clients that do everything right, each in its own way."""

from scripts.scenario import words
from scripts.scenario.catalogue import scenario
from scripts.scenario.conversation import Conversation
from tests.support import mqtt


@scenario()
def mqtt31_session(recorder):
    """MQTT 3.1: connect, subscribe, publish with QoS 0, 1 and 2, ping, disconnect."""
    words.session(Conversation(recorder).handshake(), "session-31", mqtt.V31)


@scenario("pcap-us")
def mqtt311_session(recorder):
    """MQTT 3.1.1: the same."""
    words.session(Conversation(recorder).handshake(), "session-311", mqtt.V311)


@scenario("pcapng")
def mqtt5_session(recorder):
    """MQTT 5: the same."""
    words.session(Conversation(recorder).handshake(), "session-5", mqtt.V5)


@scenario()
def mqtt5_properties(recorder):
    """MQTT 5 with a session expiry, a receive maximum and user properties before the Client ID."""
    properties = b"\x11\0\0\x0e\x10" + b"\x21\0\x14"
    properties += b"\x26" + mqtt.string("model") + mqtt.string("m5") + b"\x26\0\0\0\0"
    talk = Conversation(recorder).handshake()
    words.begin(talk, "with-properties", mqtt.V5, properties=properties, clean=False)
    talk.close(mqtt.disconnect())


@scenario()
def empty_client_id_311(recorder):
    """MQTT 3.1.1 with an empty Client ID and a clean session."""
    talk = words.begin(Conversation(recorder).handshake(), "")
    talk.close(mqtt.disconnect())


@scenario()
def empty_client_id_31(recorder):
    """MQTT 3.1 with an empty Client ID, which that version does not know: the server says no."""
    talk = Conversation(recorder).handshake()
    talk.client.send(words.connect("", mqtt.V31))
    talk.server.send(mqtt.connack(mqtt.V31, 2))
    talk.server.fin()
    talk.client.ack()
    talk.client.fin()
    talk.server.ack()


@scenario()
def bridge(recorder):
    """A bridge of Mosquitto, which says so by the high bit of the protocol level."""
    talk = Conversation(recorder).handshake()
    talk.ask(words.connect("bridge", override={"level": b"\x84"}), mqtt.connack(mqtt.V311))
    talk.close(mqtt.disconnect())


@scenario()
def empty_client_id_5(recorder):
    """MQTT 5 with an empty Client ID, which the server chooses."""
    talk = Conversation(recorder).handshake()
    assigned = b"\x12" + mqtt.string("given-by-server")
    talk.ask(words.connect("", mqtt.V5),
             mqtt.packet(mqtt.CONNACK, b"\0\0" + mqtt.varint(len(assigned)) + assigned))
    talk.close(mqtt.disconnect())


@scenario()
def user_name_and_token(recorder):
    """A user name, and a token of 2 KB as password: the CONNECT takes two segments."""
    token = "eyJhbGciOiJFUzI1NiJ9." + "cGF5bG9hZC1vZi1hLXRva2Vu" * 80 + "." + "c2lnbmF0dXJl" * 8
    talk = Conversation(recorder).handshake()
    words.begin(talk, "token", mqtt.V5, user="device", password=token)
    talk.close(mqtt.disconnect())


@scenario()
def last_will(recorder):
    """A CONNECT with a will, retained and with QoS 1; the client goes without DISCONNECT."""
    talk = Conversation(recorder).handshake()
    words.begin(talk, "mortal", mqtt.V5, will=mqtt.Will("gone/mortal", "so it goes", 1, True))
    talk.client.rst()


@scenario()
def pipelined_in_one_segment(recorder):
    """SUBSCRIBE and PUBLISH in the CONNECT's own segment."""
    talk = Conversation(recorder).handshake()
    talk.ask(words.connect("eager") + mqtt.subscribe("a") + mqtt.publish("a", b"hello"),
             mqtt.connack(mqtt.V311) + words.suback() + mqtt.publish("a", b"hello"))
    talk.close(mqtt.disconnect())


@scenario()
def pipelined_in_more_segments(recorder):
    """SUBSCRIBE and a PUBLISH over two segments follow the CONNECT before any answer."""
    talk = Conversation(recorder).handshake()
    talk.client.send(words.connect("eager"))
    talk.client.send(mqtt.subscribe("a"))
    talk.client.send(mqtt.publish("a", b"p" * 2000))
    talk.server.send(mqtt.connack(mqtt.V311) + words.suback() + mqtt.publish("a", b"p" * 2000))
    talk.client.ack()
    talk.close(mqtt.disconnect())


@scenario()
def pings(recorder):
    """A client with a keep alive of 30 s that says nothing else for two minutes."""
    talk = words.begin(Conversation(recorder).handshake(), "quiet", keep_alive=30)
    for _ in range(4):
        talk.wait(29.9)
        talk.ask(mqtt.pingreq(), words.pingresp())
    talk.close(mqtt.disconnect())


@scenario()
def silent_beyond_keep_alive(recorder):
    """A client with a keep alive of 60 s that falls silent, and speaks again after 5 minutes."""
    talk = words.begin(Conversation(recorder).handshake(), "sleeper", keep_alive=60)
    talk.wait(300)
    talk.client.send(mqtt.pingreq())
    talk.server.rst()


@scenario()
def large_download(recorder):
    """The server sends 200 full segments; the client acknowledges every other one."""
    talk = words.begin(Conversation(recorder).handshake(), "download")
    talk.ask(mqtt.subscribe("firmware"), words.suback())
    image = bytes((7 * i + i // 256) & 255 for i in range(200 * 1448 - 14))
    pieces = talk.server.cut(mqtt.publish("firmware", image))
    assert len(pieces) == 200
    for first, second in zip(pieces[::2], pieces[1::2]):
        talk.server.put(first, second)
        talk.client.ack()
    talk.close(mqtt.disconnect())


@scenario()
def large_upload(recorder):
    """The client publishes 60 full segments, six in flight."""
    talk = words.begin(Conversation(recorder).handshake(), "upload", mqtt.V5)
    pieces = talk.client.cut(mqtt.publish("image", bytes(60 * 1448 - 12), version=mqtt.V5))
    assert len(pieces) == 60
    for n in range(0, 60, 6):
        talk.client.put(*pieces[n:n + 6])
        talk.server.ack()
    talk.close(mqtt.disconnect())
