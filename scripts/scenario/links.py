"""The same small session as different link layers and address families have it."""

from scripts.scenario import words
from scripts.scenario.catalogue import scenario
from scripts.scenario.conversation import Conversation
from tests.support import mqtt


def _session(recorder, client_id, **options):
    talk = words.begin(Conversation(recorder, **options).handshake(), client_id)
    talk.close(mqtt.disconnect())


@scenario(link="vlan")
def link_vlan(recorder):
    """A session in a VLAN."""
    _session(recorder, "vlan")


@scenario(link="qinq")
def link_stacked_vlan(recorder):
    """A session with two VLAN tags."""
    _session(recorder, "qinq")


@scenario(link="cooked")
def link_cooked(recorder):
    """A session captured on all interfaces at once (Linux cooked)."""
    _session(recorder, "cooked")


@scenario("pcapng", link="cooked2")
def link_cooked_2(recorder):
    """A session captured on all interfaces at once (Linux cooked, version 2)."""
    _session(recorder, "cooked2")


@scenario(link="raw")
def link_raw_ip(recorder):
    """A session captured on a tunnel: packets begin with their IP header."""
    _session(recorder, "raw")


@scenario("pcap-be")
def big_endian_capture(recorder):
    """A session in a file of a big-endian machine."""
    _session(recorder, "big-endian")


@scenario()
def ipv6_session(recorder):
    """A session over IPv6, which is played over IPv4."""
    _session(recorder, "six", client=("2001:db8::21", 40001), server=("2001:db8::10", 1883))


@scenario()
def loopback_session(recorder):
    """A session between programs of one machine, from one loopback address to itself."""
    _session(recorder, "local", client=("127.0.0.1", 40001), server=("127.0.0.1", 1883))


@scenario()
def midstream_capture(recorder):
    """A capture that begins behind the handshake; the server sends 20 segments later on."""
    talk = Conversation(recorder)
    talk.client.syn(captured=False)
    talk.server.syn(captured=False)
    talk.client.ack(captured=False)
    words.begin(talk, "midstream")
    for piece in talk.server.cut(mqtt.publish("down", bytes(20 * 1448 - 10))):
        talk.server.put(piece)
        talk.client.ack()
    talk.close(mqtt.disconnect())


@scenario()
def other_server(recorder):
    """A session with a server of another address and port, as captures from elsewhere have it."""
    _session(recorder, "elsewhere", client=("10.1.2.3", 50000), server=("10.9.8.7", 11883))
