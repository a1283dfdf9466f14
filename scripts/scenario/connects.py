"""A CONNECT that takes more than one segment, or comes in an odd way."""

from scripts.scenario import words
from scripts.scenario.catalogue import scenario
from scripts.scenario.conversation import Conversation, Options
from tests.support import mqtt


def _finish(talk, version=mqtt.V311):
    talk.server.send(mqtt.connack(version))
    talk.client.ack()
    talk.close(mqtt.disconnect())


def _in_flights(talk, whole, flight):
    pieces = talk.client.cut(whole)
    while pieces:
        burst, pieces = pieces[:flight], pieces[flight:]
        talk.client.put(*burst)
        talk.server.ack()


@scenario()
def connect_byte_by_byte(recorder):
    """The CONNECT one byte at a time, each when the last one was acknowledged (Nagle)."""
    talk = Conversation(recorder).handshake()
    for piece in talk.client.cut(words.connect("byte-by-byte"), 1):
        talk.client.put(piece)
        talk.server.ack(gap=0.04)
    _finish(talk)


@scenario()
def connect_bytes_at_once(recorder):
    """The CONNECT in segments of one byte, none of which waits for an acknowledgement."""
    talk = Conversation(recorder).handshake()
    talk.client.send(words.connect("bytes-at-once"), 1)
    _finish(talk)


@scenario()
def connect_64k(recorder):
    """A CONNECT of 64 KiB over 46 segments, ten in flight, with a password that long."""
    talk = Conversation(recorder).handshake()
    whole = words.connect("large", user="u", password=b"p" * (65536 - 26))
    assert len(whole) == 65536
    _in_flights(talk, whole, 10)
    _finish(talk)


@scenario()
def client_id_65535(recorder):
    """A Client ID of 65,535 bytes, the most there can be."""
    talk = Conversation(recorder).handshake()
    _in_flights(talk, words.connect("0123456789abcde" * 4369, mqtt.V5), 10)
    _finish(talk, mqtt.V5)


@scenario()
def connect_split_everywhere(recorder):
    """Fifteen clients, whose CONNECT of 16 bytes is in two segments: cut behind byte 1, 2, ..."""
    for n in range(1, 16):
        talk = Conversation(recorder, ("198.18.0.21", 40000 + n), at=n * 0.01)
        talk.handshake()
        whole = words.connect(bytes([0x60 + n]), mqtt.V5)
        assert len(whole) == 16
        talk.client.send(whole, [n])
        _finish(talk, mqtt.V5)


@scenario()
def third_ack_missing(recorder):
    """The CONNECT completes the handshake: the bare ACK before it was lost."""
    talk = Conversation(recorder)
    talk.client.syn()
    talk.server.syn()
    talk.client.ack(captured=False, arrives=False)
    talk.client.send(words.connect("no-third-ack"))
    _finish(talk)


@scenario()
def syn_repeated(recorder):
    """The client repeats its SYN twice until it is answered."""
    talk = Conversation(recorder)
    talk.client.syn(arrives=False)
    talk.client.again(gap=1, arrives=False)
    talk.client.again(gap=2)
    talk.server.syn()
    talk.client.ack()
    words.begin(talk, "patient")
    talk.close(mqtt.disconnect())


@scenario()
def third_ack_repeated(recorder):
    """The server repeats its SYN-ACK, so the client repeats its ACK."""
    talk = Conversation(recorder)
    talk.client.syn()
    talk.server.syn()
    talk.client.ack(arrives=False)
    talk.server.again(gap=1)
    talk.client.ack()
    talk.client.ack()
    words.begin(talk, "twice")
    talk.close(mqtt.disconnect())


@scenario()
def connect_retransmitted(recorder):
    """The CONNECT is repeated twice before anything answers."""
    talk = Conversation(recorder).handshake()
    talk.client.send(words.connect("again"), arrives=False)
    talk.client.again(gap=0.2, arrives=False)
    talk.client.again(gap=0.4)
    _finish(talk)


@scenario()
def connect_segments_reordered(recorder):
    """The three segments of a CONNECT arrive as last, first, middle."""
    talk = Conversation(recorder).handshake()
    whole = words.connect("shuffled", user="u", password=b"x" * 90)
    first, middle, last = talk.client.cut(whole, 40)
    for piece in (last, first, middle):
        talk.client.put(piece)
        talk.server.ack()
    _finish(talk)


@scenario()
def connect_segments_overlap(recorder):
    """A CONNECT's first half is repeated together with its second one, in one segment."""
    talk = Conversation(recorder).handshake()
    first, second = talk.client.cut(words.connect("overlapping"), [12])
    talk.client.put(first)
    both = talk.client.join(first, second)
    talk.client.put(both, gap=0.2)
    _finish(talk)


@scenario()
def syn_with_data(recorder):
    """The SYN carries the CONNECT; a server that does not know of that leaves it unacknowledged."""
    talk = Conversation(recorder)
    whole = words.connect("fast-open")
    talk.client.syn(whole, arrives=False)
    talk.client.next = talk.client.iss + 1
    talk.server.expects = talk.client.next
    talk.server.syn()
    talk.client.send(whole)
    _finish(talk)


@scenario()
def connect_with_fin(recorder):
    """The client has nothing to say behind its CONNECT: the same segment carries its FIN."""
    talk = Conversation(recorder).handshake()
    talk.client.fin(words.connect("brief"))
    talk.server.send(mqtt.connack(mqtt.V311))
    talk.client.ack()
    talk.server.fin()
    talk.client.ack()


def _with_options(recorder, name, client=None, server=None, payload=b"payload"):
    talk = Conversation(recorder, client_options=client, server_options=server).handshake()
    words.begin(talk, name)
    talk.ask(mqtt.publish("t", payload, 1, 9), words.answer(mqtt.PUBACK, 9))
    talk.server.send(mqtt.publish("t", payload))
    talk.client.ack()
    talk.close(mqtt.disconnect())


@scenario()
def no_timestamps(recorder):
    """A client that does not know of timestamps."""
    _with_options(recorder, "no-timestamps", client=Options(timestamps=False))


@scenario()
def no_sack(recorder):
    """A client that does not know of selective acknowledgement."""
    _with_options(recorder, "no-sack", client=Options(sack=False))


@scenario()
def no_window_scale(recorder):
    """A client that does not scale its window."""
    _with_options(recorder, "no-scale", client=Options(window_scale=None))


@scenario()
def only_mss(recorder):
    """A small device's TCP: an MSS of 536, no other option."""
    _with_options(recorder, "only-mss", client=Options(536, None, False, False), payload=b"p" * 900)


@scenario()
def no_options(recorder):
    """A SYN without any option."""
    _with_options(recorder, "bare", client=Options(None, None, False, False))


@scenario()
def tiny_mss(recorder):
    """A client with an MSS of 88: what the server sends has to be cut to that."""
    _with_options(recorder, "tiny", client=Options(mss=88), payload=b"p" * 300)


@scenario()
def largest_window_scale(recorder):
    """A client with the largest window scale there is, 14."""
    _with_options(recorder, "wide", client=Options(window_scale=14))


@scenario()
def server_without_timestamps(recorder):
    """The server does not know of timestamps; the client would."""
    _with_options(recorder, "s-no-ts", server=Options(timestamps=False))


@scenario()
def server_without_sack(recorder):
    """The server does not know of selective acknowledgement; the client would."""
    _with_options(recorder, "s-no-sack", server=Options(sack=False))


@scenario()
def server_without_window_scale(recorder):
    """The server does not scale windows; the client would."""
    _with_options(recorder, "s-no-scale", server=Options(window_scale=None))


@scenario()
def server_with_small_mss(recorder):
    """The server takes segments of at most 536 bytes."""
    _with_options(recorder, "s-mss", server=Options(mss=536), payload=b"p" * 1300)


def _near_wrap(recorder, name, **numbers):
    talk = words.begin(Conversation(recorder, **numbers).handshake(), name)
    talk.ask(mqtt.publish("up", b"u" * 3000, 1, 5), words.answer(mqtt.PUBACK, 5))
    talk.server.send(mqtt.publish("down", b"d" * 3000))
    talk.client.ack()
    talk.close(mqtt.disconnect())


@scenario()
def client_numbers_wrap(recorder):
    """The client's sequence numbers wrap within its second segment."""
    _near_wrap(recorder, "wrap-client", client_iss=(1 << 32) - 600)


@scenario()
def client_numbers_wrap_in_connect(recorder):
    """The client's sequence numbers wrap within its CONNECT."""
    _near_wrap(recorder, "wrap-connect", client_iss=(1 << 32) - 10)


@scenario()
def client_numbers_begin_at_zero(recorder):
    """The client's first byte is number 0: what precedes it at the broker lies before the wrap."""
    _near_wrap(recorder, "from-zero", client_iss=(1 << 32) - 1)


@scenario()
def server_numbers_wrap(recorder):
    """The server's sequence numbers wrap within its CONNACK."""
    _near_wrap(recorder, "wrap-server", server_iss=(1 << 32) - 3)


@scenario()
def timestamps_wrap(recorder):
    """The clocks of both sides' timestamps wrap in the middle of the connection."""
    talk = Conversation(recorder)
    talk.client.clock, talk.server.clock = (1 << 32) - 20, (1 << 32) - 30
    words.begin(talk.handshake(), "old-clock")
    for _ in range(4):
        talk.wait(0.01)
        talk.ask(mqtt.pingreq(), words.pingresp())
    talk.close(mqtt.disconnect())
