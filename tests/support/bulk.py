"""Many bytes over one connection, compared by their digests."""

import hashlib

from tests.support import mqtt, tcp


def digest(data):
    return hashlib.sha256(data).hexdigest()


def receive(client, size):
    """The digest of `size` raw bytes."""
    seen, count = hashlib.sha256(), 0
    while count < size:
        data = client.sock.recv(min(1 << 20, size - count))
        assert data, f"connection ended after {count} of {size} bytes"
        seen.update(data)
        count += len(data)
    return seen.hexdigest()


def exchange_bulk(client, size):
    """`size` bytes to the broker (a sink) and `size` bytes back, each with an equal digest."""
    data = tcp.pattern(size)
    expected = digest(data)
    client.send(mqtt.publish("sink/receive", str(size).encode()))
    client.send(data)
    assert client.expect(mqtt.PUBLISH).publication() == ("sink/sha256", expected.encode())
    client.send(mqtt.publish("sink/send", str(size).encode()))
    assert receive(client, size) == expected
