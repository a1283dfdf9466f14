"""A CONNECT that takes more than one segment, or comes in an odd way."""

from scripts.scenario import words
from scripts.scenario.catalogue import scenario
from scripts.scenario.conversation import Conversation
from tests.support import mqtt


@scenario()
def connect_byte_by_byte(recorder):
    """The CONNECT one byte at a time, each when the last one was acknowledged (Nagle)."""
    talk = Conversation(recorder).handshake()
    for piece in talk.client.cut(words.connect("byte-by-byte"), 1):
        talk.client.put(piece)
        talk.server.ack(gap=0.04)
    talk.server.send(mqtt.connack(mqtt.V311))
    talk.client.ack()
    talk.close(mqtt.disconnect())


@scenario()
def connect_64k(recorder):
    """A CONNECT of 64 KiB over 46 segments, ten in flight at first, with a password that long."""
    talk = Conversation(recorder).handshake()
    whole = words.connect("large", user="u", password=b"p" * (65536 - 26))
    assert len(whole) == 65536
    pieces = talk.client.cut(whole)
    while pieces:
        burst, pieces = pieces[:10], pieces[10:]
        talk.client.put(*burst)
        talk.server.ack()
    talk.server.send(mqtt.connack(mqtt.V311))
    talk.client.ack()
    talk.close(mqtt.disconnect())
