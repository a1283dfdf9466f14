"""How connections end."""

from scripts.scenario import words
from scripts.scenario.catalogue import scenario
from scripts.scenario.conversation import Conversation
from tests.support import mqtt


@scenario()
def client_half_closes(recorder):
    """The client closes its direction; the server sends more before it closes its own."""
    talk = words.begin(Conversation(recorder).handshake(), "half")
    talk.client.fin(mqtt.publish("last", b"words", 1, 4))
    talk.server.send(words.answer(mqtt.PUBACK, 4))
    talk.client.ack()
    talk.wait(0.5)
    talk.server.send(mqtt.publish("late", b"x" * 2000))
    talk.client.ack()
    talk.server.fin()
    talk.client.ack()


@scenario()
def server_closes_first(recorder):
    """The server closes, with its last words in the FIN's segment; the client follows."""
    talk = words.begin(Conversation(recorder).handshake(), "dismissed", mqtt.V5)
    talk.server.fin(mqtt.packet(mqtt.DISCONNECT, b"\x8b\0"))
    talk.client.ack()
    talk.client.fin()
    talk.server.ack()


@scenario()
def both_close_at_once(recorder):
    """The two FINs cross."""
    talk = words.begin(Conversation(recorder).handshake(), "crossing")
    talk.client.fin(mqtt.disconnect(), arrives=False)
    talk.server.fin(gap=0.0001, arrives=False)
    talk.client.expects += 1
    talk.client.ack()
    talk.server.expects = talk.client.next
    talk.server.ack()


@scenario()
def client_closes_before_connect(recorder):
    """A connection that is opened and closed without a word, as a port scan does."""
    talk = Conversation(recorder).handshake()
    talk.client.fin()
    talk.server.fin()
    talk.client.ack()


@scenario()
def client_closes_within_connect(recorder):
    """The client closes when half of its CONNECT is sent."""
    talk = Conversation(recorder).handshake()
    talk.client.send(words.connect("half-said")[:11])
    talk.server.ack()
    talk.client.fin()
    talk.server.fin()
    talk.client.ack()


@scenario()
def client_resets_before_connect(recorder):
    """RST when half of the CONNECT is sent."""
    talk = Conversation(recorder).handshake()
    talk.client.send(words.connect("regrets")[:11])
    talk.server.ack()
    talk.client.rst()


@scenario()
def client_resets_while_waiting(recorder):
    """RST behind the CONNECT, before any answer."""
    talk = Conversation(recorder).handshake()
    talk.client.send(words.connect("impatient"))
    talk.client.rst(gap=0.00005)


@scenario()
def client_resets_after_connack(recorder):
    """RST in the middle of a session."""
    talk = words.begin(Conversation(recorder).handshake(), "abrupt")
    talk.ask(mqtt.subscribe("a"), words.suback())
    talk.client.rst()


@scenario()
def client_resets_after_fin(recorder):
    """The client closes, does not want what the server still sends, and resets."""
    talk = words.begin(Conversation(recorder).handshake(), "no-more")
    talk.client.fin(mqtt.disconnect())
    talk.server.send(mqtt.publish("late", b"unwanted"))
    talk.client.rst(with_ack=False)


@scenario()
def server_resets(recorder):
    """RST by the server in the middle of a session."""
    talk = words.begin(Conversation(recorder).handshake(), "thrown-out")
    talk.ask(mqtt.subscribe("a"), words.suback())
    talk.server.rst()


@scenario()
def server_refuses_client(recorder):
    """CONNACK with a return code, then FIN."""
    talk = Conversation(recorder).handshake()
    talk.client.send(words.connect("unknown", user="u", password="wrong"))
    talk.server.send(mqtt.connack(mqtt.V311, 5))
    talk.server.fin()
    talk.client.ack()
    talk.client.fin()
    talk.server.ack()
