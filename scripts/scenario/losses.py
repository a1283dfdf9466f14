"""Segments lost, late and repeated, as the two ends live with it."""

from scripts.scenario import words
from scripts.scenario.catalogue import scenario
from scripts.scenario.conversation import Conversation
from tests.support import mqtt


@scenario()
def loss_and_reordering(recorder):
    """A publication of 10 segments loses two and finds two swapped; the answer loses one too."""
    talk = words.begin(Conversation(recorder).handshake(), "lossy")
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
