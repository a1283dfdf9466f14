"""Segments lost, late and repeated, and windows that close, as the two ends live with it."""

from scripts.scenario import words
from scripts.scenario.catalogue import scenario
from scripts.scenario.conversation import Conversation, Options
from tests.support import mqtt


def _lossy(recorder, **options):
    talk = words.begin(Conversation(recorder, **options).handshake(), "lossy")
    pieces = talk.client.cut(mqtt.publish("up", bytes(range(256)) * 54, 1, 7))
    talk.client.put(*pieces[:2])
    talk.client.put(pieces[2], captured=False, arrives=False)  # lost before the capture
    for piece in (pieces[4], pieces[3]):
        talk.client.put(piece)
        talk.server.ack()
    talk.client.put(pieces[5], arrives=False)  # lost behind it
    for piece in pieces[6:]:
        talk.client.put(piece)
        talk.server.ack()
    talk.client.put(pieces[2])
    talk.server.ack()
    talk.client.put(pieces[5])
    talk.server.ack()
    talk.server.send(words.answer(mqtt.PUBACK, 7), captured=False, arrives=False)
    talk.wait(0.2)
    talk.server.again()
    talk.client.ack()
    down = talk.server.cut(mqtt.publish("down", bytes(range(255)) * 30))
    talk.server.put(down[0])
    talk.server.put(down[1], arrives=False)
    for piece in (down[3], down[2], *down[4:]):
        talk.server.put(piece)
        talk.client.ack()
    talk.server.put(down[1])
    talk.client.ack()
    talk.close(mqtt.disconnect())


@scenario()
def loss_and_reordering(recorder):
    """A publication of 10 segments loses two and finds two swapped; the answer loses one too."""
    _lossy(recorder)


@scenario()
def loss_without_sack(recorder):
    """The same without selective acknowledgement."""
    _lossy(recorder, client_options=Options(sack=False))


@scenario()
def repeated_in_vain(recorder):
    """What had arrived is repeated by both sides; the answers say so (DSACK)."""
    talk = words.begin(Conversation(recorder).handshake(), "twice")
    talk.client.send(mqtt.publish("up", b"once", 1, 3))
    talk.server.ack(arrives=False)
    talk.client.again(gap=0.2)
    talk.server.ack()
    talk.server.send(words.answer(mqtt.PUBACK, 3))
    talk.client.ack(arrives=False)
    talk.server.again(gap=0.2)
    talk.client.ack()
    talk.close(mqtt.disconnect())


@scenario()
def connack_lost(recorder):
    """The CONNACK is lost behind the capture; the client repeats its CONNECT meanwhile."""
    talk = Conversation(recorder).handshake()
    talk.client.send(words.connect("deaf"))
    talk.server.send(mqtt.connack(mqtt.V311), arrives=False)
    talk.client.again(gap=0.2)
    talk.server.again()
    talk.client.ack()
    talk.close(mqtt.disconnect())


@scenario()
def fins_lost(recorder):
    """Both FINs are lost once and repeated."""
    talk = words.begin(Conversation(recorder).handshake(), "lost-fin")
    talk.client.fin(mqtt.disconnect(), arrives=False)
    talk.client.again(gap=0.2)
    talk.server.ack()
    talk.server.fin(arrives=False)
    talk.server.again(gap=0.2)
    talk.client.ack()


@scenario()
def client_window_closes(recorder):
    """The client's window closes, the server probes it twice, then it opens again."""
    talk = Conversation(recorder, client_options=Options(window_scale=0))
    talk.client.window = 2896
    words.begin(talk.handshake(), "full")
    pieces = talk.server.cut(mqtt.publish("down", b"d" * 6000))
    talk.server.put(*pieces[:2])
    talk.client.open_window(0)
    for _ in range(2):
        talk.wait(0.2)
        talk.server.probe()
        talk.client.ack()
    talk.wait(0.1)
    talk.client.open_window(8192)
    talk.server.put(*pieces[2:])
    talk.client.ack()
    talk.close(mqtt.disconnect())


@scenario()
def server_window_closes(recorder):
    """The server's window closes, the client probes it twice, then it opens again."""
    talk = Conversation(recorder, server_options=Options(window_scale=0))
    talk.server.window = 2896
    words.begin(talk.handshake(), "choked")
    pieces = talk.client.cut(mqtt.publish("up", b"u" * 6000))
    talk.client.put(*pieces[:2])
    talk.server.open_window(0)
    for _ in range(2):
        talk.wait(0.2)
        talk.client.probe()
        talk.server.ack()
    talk.wait(0.1)
    talk.server.open_window(8192)
    talk.client.put(*pieces[2:])
    talk.server.ack()
    talk.close(mqtt.disconnect())


@scenario()
def window_updates(recorder):
    """Both sides change their windows without any data in between."""
    talk = words.begin(Conversation(recorder).handshake(), "updates")
    for size in (32768, 65536, 1 << 20, 128):
        talk.client.open_window(size)
        talk.server.open_window(2 * size)
    talk.ask(mqtt.pingreq(), words.pingresp())
    talk.close(mqtt.disconnect())


@scenario()
def keepalive_probes(recorder):
    """Both sides probe whether the other one is still there (TCP keepalive)."""
    talk = words.begin(Conversation(recorder).handshake(), "probed", keep_alive=600)
    talk.wait(75)
    talk.client.probe()
    talk.server.ack()
    talk.wait(75)
    talk.server.probe()
    talk.client.ack()
    talk.wait(75)
    talk.client.probe(b"\0")  # with a byte, as old stacks have it
    talk.server.ack()
    talk.close(mqtt.disconnect())
