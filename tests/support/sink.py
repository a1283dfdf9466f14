"""A scripted broker that records what reaches it; run as an agent in a broker namespace.

It understands as much MQTT as the tests need: CONNACK, SUBACK, PINGRESP; every PUBLISH comes back
as it was sent, except for two topics:
  sink/send     payload N: N bytes of tcp.pattern follow, raw
  sink/receive  payload N: takes N raw bytes; answers a PUBLISH sink/sha256 with their digest
"""

import asyncio
import hashlib
import time

from tests.support import agent, mqtt, proxy_header, tcp


class Connection(asyncio.Protocol):
    def __init__(self, sink):
        self.sink = sink
        self.record = {"opened": time.monotonic(), "peer": None, "proxy": 0, "source": None,
                       "destination": None, "tlvs": {}, "client_id": None, "version": None,
                       "bytes": 0, "sequence": None, "half_closed": False, "end": None}
        self.digest = hashlib.sha256()
        self._head = b""
        self._parser = None
        self._bulk, self._bulk_digest = 0, None

    def connection_made(self, transport):
        self.transport = transport
        sock = transport.get_extra_info("socket")
        self.record["peer"] = transport.get_extra_info("peername")[:2]
        if self.sink.note_sequences:
            self.record["sequence"] = tcp.send_sequence(sock)
        full = self.sink.limit is not None and self.sink.open() >= self.sink.limit
        self.sink.connections.append(self)
        if self.sink.mode == "close":
            transport.close()
        elif self.sink.mode == "reset" or full:
            transport.abort()

    def connection_lost(self, exc):
        self.record["end"] = "reset" if exc else "closed"

    def data_received(self, data):
        if self._parser is None:
            data = self._take_proxy_header(data)
        if data:
            self.record["bytes"] += len(data)
            self.digest.update(data)
            if self.sink.mode == "serve":
                self._serve(data)
            elif self.sink.mode == "drop":
                self.transport.abort()

    def eof_received(self):
        self.record["half_closed"] = True
        return self.sink.keep_half_closed

    def _take_proxy_header(self, data):
        self._head += data
        try:
            header = proxy_header.parse(self._head)
        except (ValueError, KeyError) as error:
            self.record["proxy"] = str(error)
            self.transport.abort()
            return b""
        if header is None:
            return b""
        self.record.update(proxy=header.version, source=header.source,
                           destination=header.destination, tlvs=header.tlvs)
        self._parser = mqtt.Parser()
        return self._head[header.size:]

    def _serve(self, data):
        while data:
            if self._bulk:
                data = self._take_bulk(data)
            packets = self._parser.feed(data)
            data = b""
            for packet in packets:
                self._answer(packet)
                if self._bulk:  # what follows the packet is no MQTT
                    data, self._parser.rest = self._parser.rest, b""
                    break

    def _take_bulk(self, data):
        part, rest = data[:self._bulk], data[self._bulk:]
        self._bulk_digest.update(part)
        self._bulk -= len(part)
        if self._bulk == 0:
            self._publish("sink/sha256", self._bulk_digest.hexdigest().encode())
        return rest

    def _publish(self, topic, payload):
        self.transport.write(mqtt.publish(topic, payload, version=self.record["version"]))

    def _answer(self, packet):
        version = self.record["version"]
        if packet.kind == mqtt.CONNECT:
            version, client_id = packet.connect()
            self.record.update(version=version, client_id=client_id.decode("latin-1"))
            self.transport.write(mqtt.connack(version, self.sink.connack_code))
        elif packet.kind == mqtt.SUBSCRIBE:
            tail = b"\0" if version == mqtt.V5 else b""
            self.transport.write(mqtt.packet(mqtt.SUBACK, packet.body[:2] + tail + b"\0"))
        elif packet.kind == mqtt.PINGREQ:
            self.transport.write(mqtt.packet(mqtt.PINGRESP))
        elif packet.kind == mqtt.DISCONNECT:
            self.transport.close()
        elif packet.kind == mqtt.PUBLISH:
            topic, payload = packet.publication(version)
            if topic == "sink/send":
                self.transport.write(tcp.pattern(int(payload)))
            elif topic == "sink/receive":
                self._bulk, self._bulk_digest = int(payload), hashlib.sha256()
            else:
                self._publish(topic, payload)


class Sink:
    def __init__(self):
        self.connections = []
        self.mode = "serve"
        self.note_sequences = self.keep_half_closed = False
        self.connack_code = 0
        self.limit = None
        self._server = None

    async def listen(self, address, port):
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), address, port,
                                                backlog=16384)
        return True

    async def refuse(self):
        """Stops listening: the kernel answers a SYN with RST. Connections stay."""
        self._server.close()
        return True

    async def set(self, **values):
        """mode: serve, silent (never answers), close or reset (on accept), drop (RST on CONNECT).
        limit: so many connections at once; more are accepted and reset."""
        for name, value in values.items():
            setattr(self, name, value)
        return True

    async def records(self):
        return [{**c.record, "sha256": c.digest.hexdigest()} for c in self.connections]

    def open(self):
        return sum(c.record["end"] is None for c in self.connections)

    async def count(self):
        """Connections now open, that completed a CONNECT."""
        return sum(c.record["client_id"] is not None and c.record["end"] is None
                   for c in self.connections)

    async def forget(self):
        """Drops the records of connections that ended."""
        self.connections = [c for c in self.connections if c.record["end"] is None]
        return True

    async def close_all(self):
        for connection in self.connections:
            connection.transport.close()
        return True

    async def run(self):
        handlers = {name: getattr(self, name) for name in
                    ("listen", "refuse", "set", "records", "count", "forget", "close_all")}
        await agent.serve(handlers)


if __name__ == "__main__":
    agent.use_all_files()
    asyncio.run(Sink().run())
