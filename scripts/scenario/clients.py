"""Several clients, and clients that come again."""

from scripts.scenario import words
from scripts.scenario.catalogue import scenario
from scripts.scenario.conversation import Conversation
from tests.support import mqtt


def client(n):
    return (f"198.18.0.{20 + n}", 40000 + n)


@scenario()
def twelve_clients(recorder):
    """Twelve clients with Client IDs of their own, connected at the same time."""
    for n in range(12):
        talk = Conversation(recorder, client(n), at=n * 0.0001, client_iss=n * 77_777_777)
        words.begin(talk.handshake(), f"device-{n}", mqtt.VERSIONS[n % 3])
        talk.wait(0.01)
        talk.close(mqtt.disconnect())


@scenario()
def two_clients_with_one_client_id(recorder):
    """A second client takes over the Client ID of a first one, which the server then closes."""
    first = words.begin(Conversation(recorder, client(1)).handshake(), "twin")
    second = Conversation(recorder, client(2), at=0.05, client_iss=2_000_000, server_iss=77)
    words.begin(second.handshake(), "twin")
    first.wait(0.06)
    first.server.fin()
    first.client.ack()
    first.client.fin()
    first.server.ack()
    second.wait(0.1)
    second.close(mqtt.disconnect())


@scenario()
def client_moves(recorder):
    """A client vanishes, and returns with the same Client ID from another address and port."""
    before = words.begin(Conversation(recorder, client(1)).handshake(), "roamer", clean=False)
    before.ask(mqtt.pingreq(), words.pingresp())
    after = Conversation(recorder, client(9), at=20, client_iss=5_000_000)
    words.begin(after.handshake(), "roamer", clean=False)
    after.close(mqtt.disconnect())


@scenario()
def address_used_again_after_close(recorder):
    """The same address and port connect again, 2 s after the last connection was closed."""
    talk = words.begin(Conversation(recorder).handshake(), "again-1")
    talk.close(mqtt.disconnect())
    talk = words.begin(Conversation(recorder, at=2, client_iss=9_000_000).handshake(), "again-2")
    talk.close(mqtt.disconnect())


@scenario()
def address_used_again_without_close(recorder):
    """A client loses power, and begins anew from the same address and port; numbers start over."""
    words.begin(Conversation(recorder).handshake(), "power-lost")
    talk = Conversation(recorder, at=30, client_iss=400_000_000, server_iss=123_456_789)
    words.begin(talk.handshake(), "power-lost")
    talk.close(mqtt.disconnect())
