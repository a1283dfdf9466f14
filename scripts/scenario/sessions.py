"""Clients that do everything right."""

from scripts.scenario import words
from scripts.scenario.catalogue import scenario
from scripts.scenario.conversation import Conversation
from tests.support import mqtt


@scenario()
def mqtt311_session(recorder):
    """MQTT 3.1.1: connect, subscribe, publish with QoS 0, 1 and 2, ping, disconnect."""
    words.session(Conversation(recorder).handshake(), "session-311", mqtt.V311)
