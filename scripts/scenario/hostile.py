"""Connections that are no good MQTT, and what an attacker throws at good ones."""

from scripts.scenario import words
from scripts.scenario.catalogue import scenario
from scripts.scenario.conversation import ACK, PSH, SYN, Conversation, Piece
from tests.support import mqtt


def _refused(recorder, first, **options):
    """The server closes at the sight of what the client says."""
    talk = Conversation(recorder, **options).handshake()
    talk.client.send(first)
    talk.server.fin()
    talk.client.ack()
    talk.client.fin()
    talk.server.ack()


def _all_refused(recorder, *firsts):
    for n, first in enumerate(firsts):
        _refused(recorder, first, client=("198.18.0.21", 40001 + n), at=n * 0.1)


def _malformed(client_id="malformed", version=mqtt.V311, **override):
    return words.connect(client_id, version, override=override)


@scenario()
def not_mqtt_garbage(recorder):
    """Bytes without a meaning where the CONNECT should be."""
    _refused(recorder, bytes((i * 89 + 201) & 255 for i in range(300)))


@scenario()
def not_mqtt_tls(recorder):
    """A TLS ClientHello."""
    hello = b"\x03\x03" + bytes(range(32)) + b"\0\0\x02\x13\x01\x01\0\0\0"
    hello = b"\x01" + len(hello).to_bytes(3, "big") + hello
    _refused(recorder, b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello)


@scenario()
def not_mqtt_http(recorder):
    """An HTTP request that would like a WebSocket."""
    _refused(recorder, b"GET /mqtt HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\n"
                       b"Connection: Upgrade\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n")


@scenario()
def publish_before_connect(recorder):
    """A PUBLISH as the first packet, and a SUBSCRIBE."""
    _all_refused(recorder, mqtt.publish("a", b"first"), mqtt.subscribe("a"))


@scenario()
def connect_with_wrong_flags(recorder):
    """Reserved bits: in the fixed header, in the connect flags; a will QoS of 3 or without a will;
    a password without a user name."""
    body = words.connect("flags")[1:]
    _all_refused(recorder, b"\x11" + body, *(_malformed(flags=bytes([flags]))
                                            for flags in (0x03, 0x1E, 0x0A, 0x42)))


@scenario()
def connect_with_wrong_length(recorder):
    """A remaining length of five bytes; one of 0; one that ends within the Client ID."""
    whole = words.connect("length")
    _all_refused(recorder, b"\x10\xff\xff\xff\xff\x7f" + whole[2:], b"\x10\x00" + whole[2:],
                 bytes([whole[0], whole[1] - 3]) + whole[2:])


@scenario()
def connect_of_unknown_protocol(recorder):
    """A protocol name that is not MQTT's; levels 0, 6 and, for MQIsdp, 4."""
    _all_refused(recorder, _malformed(name=mqtt.string("MQXX")), _malformed(level=b"\0"),
                 _malformed(level=b"\x06"), _malformed(name=mqtt.string("MQIsdp")))


@scenario()
def connect_with_bad_utf8(recorder):
    """Client IDs that are no UTF-8: a lone continuation, a surrogate, an overlong form, a NUL."""
    _all_refused(recorder, *(words.connect(client_id) for client_id in
                             (b"a\x80", b"\xed\xa0\x80", b"\xc0\xaf", b"a\0b")))


@scenario()
def connect_with_broken_properties(recorder):
    """MQTT 5: an unknown property, one twice, one that is cut, a length beyond the packet."""
    _all_refused(recorder, *(words.connect("broken", mqtt.V5, properties=properties) for properties
                             in (b"\x7f\0", b"\x11\0\0\0\1" * 2, b"\x11\0")),
                 _malformed(version=mqtt.V5, properties=b"\x7f"))


@scenario()
def connect_with_trailing_bytes(recorder):
    """Bytes behind the last field of the CONNECT."""
    _refused(recorder, _malformed(tail=b"more"))


@scenario()
def empty_client_id_with_session(recorder):
    """An empty Client ID that wants to keep its session, which MQTT 3.1.1 forbids."""
    _refused(recorder, words.connect("", clean=False))


@scenario()
def connect_too_long(recorder):
    """A CONNECT of 20,000 bytes, more than a listener takes as a rule."""
    talk = Conversation(recorder).handshake()
    talk.client.send(words.connect("too-long", user="u", password=b"p" * 20000))
    talk.server.rst()


@scenario()
def connect_announced_too_long(recorder):
    """A CONNECT that says in its first bytes that it will have 268,435,455."""
    talk = Conversation(recorder).handshake()
    talk.client.send(b"\x10\xff\xff\xff\x7f\0\x04MQTT\x04\x02\0\x3c")
    talk.server.rst()


@scenario()
def connect_never_completed(recorder):
    """Half a CONNECT, and then a byte now and then."""
    talk = Conversation(recorder).handshake()
    pieces = talk.client.cut(words.connect("slow-slow-slow"), [12] + [1] * 8)
    for piece in pieces[:6]:
        talk.client.put(piece)
        talk.server.ack()
        talk.wait(0.7)
    talk.server.rst()


@scenario()
def nothing_after_handshake(recorder):
    """A client that connects and says nothing; the server gives up in the end."""
    talk = Conversation(recorder).handshake()
    talk.wait(4)
    talk.client.send(b"\x10")
    talk.server.rst()


@scenario()
def connect_before_handshake(recorder):
    """A CONNECT without any handshake, with numbers made up."""
    talk = Conversation(recorder)
    talk.client.expects, talk.server.expects = 0x12345678, talk.client.next
    talk.client.send(words.connect("no-handshake"))


@scenario()
def second_connect(recorder):
    """A CONNECT again in the middle of a session: the server's business."""
    talk = words.begin(Conversation(recorder).handshake(), "twice")
    talk.client.send(words.connect("other"))
    talk.server.fin()
    talk.client.ack()
    talk.client.fin()
    talk.server.ack()


def _attacked(recorder, client_id, attack):
    """A session in whose middle an attacker, who guesses, forges segments of the client."""
    talk = words.begin(Conversation(recorder).handshake(), client_id)
    talk.ask(mqtt.subscribe("a"), words.suback())
    talk.wait(0.1)
    attack(talk.client)
    talk.wait(0.1)
    talk.ask(mqtt.publish("a", b"alive", 1, 2), words.answer(mqtt.PUBACK, 2))
    talk.close(mqtt.disconnect())


def _forge(client, seq, flags, data=b"", ack=0x600DF00D):
    """Leaves what the client knows as it is; the peer does not hear it."""
    known, client.expects = (client.expects, client.sent), ack
    client.put(Piece(seq, data, flags), arrives=False)
    client.expects, client.sent = known


@scenario()
def blind_rst(recorder):
    """Forged RSTs: in the middle of the window, at its far end, and wide of it."""
    def attack(client):
        for ahead in (5_000, 60_000, 3_000_000, 2_000_000_000):
            client.rst(seq=client.next + ahead, with_ack=False, arrives=False)
    _attacked(recorder, "blind-rst", attack)


@scenario()
def blind_syn(recorder):
    """Forged SYNs of the client's address and port."""
    def attack(client):
        for ahead in (5_000, 60_000, 2_000_000_000):
            _forge(client, client.next + ahead, SYN)
    _attacked(recorder, "blind-syn", attack)


@scenario()
def blind_data(recorder):
    """Forged ACKs and data that acknowledge what was never said, the data wide of the window."""
    def attack(client):
        for ahead in (5_000, 60_000):
            _forge(client, client.next + ahead, ACK)
        for ahead in (1_200_000_000, 2_000_000_000, -1_300_000_000):
            _forge(client, client.next + ahead, ACK | PSH, mqtt.publish("a", b"forged"))
    _attacked(recorder, "blind-data", attack)
