"""Many MQTT clients in one process; run as an agent in a client namespace.

A process holds at most as many connections as it may open files: tests start several.
"""

import asyncio
import socket

from tests.support import agent, mqtt, netns

_IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h


class Client(asyncio.Protocol):
    """One client: CONNECT on arrival, then echoes on demand."""

    def __init__(self, client_id, version, keep_alive):
        loop = asyncio.get_running_loop()
        self.client_id = client_id
        self._connect = mqtt.Connect(client_id, version, keep_alive=keep_alive).encode()
        self._version = version
        self._parser = mqtt.Parser()
        self._waiting = loop.create_future()
        self.connected = self._waiting
        self.ended = None

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self._connect)

    def data_received(self, data):
        for packet in self._parser.feed(data):
            if self._waiting.done():
                self.ended = f"packet type {packet.kind} out of turn"
            else:
                self._waiting.set_result(packet)

    def connection_lost(self, exc):
        self.ended = self.ended or (type(exc).__name__ if exc else "closed")
        if not self._waiting.done():
            self._waiting.set_exception(ConnectionError(self.ended))

    async def echo(self, payload):
        if self.ended:
            return False
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(mqtt.publish("echo", payload, version=self._version))
        try:
            packet = await self._waiting
        except ConnectionError:
            return False
        return packet.publication(self._version) == ("echo", payload)


class Load:
    def __init__(self):
        self.clients = []

    async def _open_one(self, destination, spec, version, keep_alive):
        """Returns [CONNACK code or error, local address, local port]."""
        client_id, address, port = spec
        loop = asyncio.get_running_loop()
        sock = socket.socket(netns.family_of(destination[0]))
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if not port:  # the port is chosen at connect, from those free for this destination
                sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((address, port))
            await loop.sock_connect(sock, destination)
            local = sock.getsockname()[:2]
            _, client = await loop.create_connection(
                lambda: Client(client_id, version, keep_alive), sock=sock)
            self.clients.append(client)
            return [(await client.connected).code(), *local]
        except OSError as error:
            sock.close()
            return [f"{type(error).__name__}: {error}", address, port]

    async def open(self, destination, clients, version=mqtt.V311, keep_alive=600, window=200,
                   timeout=60):
        """Opens [client id, source address, source port or 0], `window` at a time."""
        gate = asyncio.Semaphore(window)

        async def one(spec):
            async with gate:
                try:
                    return await asyncio.wait_for(
                        self._open_one(tuple(destination), spec, version, keep_alive), timeout)
                except asyncio.TimeoutError:
                    return ["timed out", *spec[1:]]

        return await asyncio.gather(*(one(spec) for spec in clients))

    async def echo(self, text="m", rounds=1, timeout=60, window=500):
        """`rounds` messages there and back for each open client; how many came back as sent."""
        gate = asyncio.Semaphore(window)

        async def one(index, client):
            async with gate:
                try:
                    return await asyncio.wait_for(client.echo(f"{text} {index}".encode()), timeout)
                except asyncio.TimeoutError:
                    return False

        total = 0
        for _ in range(rounds):
            total += sum(await asyncio.gather(*(one(i, c) for i, c in enumerate(self.clients))))
        return total

    async def ended(self):
        """Why connections ended, of those that did."""
        return [c.ended for c in self.clients if c.ended]

    async def forget_ended(self):
        """Client IDs of connections that ended; the next call says only of later ones."""
        over = [c.client_id for c in self.clients if c.ended]
        self.clients = [c for c in self.clients if not c.ended]
        return over

    async def close(self, how="disconnect", newest=0, client_ids=None):
        """Closes all, the newest, or those with the Client IDs.

        By `disconnect` (DISCONNECT and FIN), `fin`, or `reset`.
        """
        if client_ids is None:
            keep = len(self.clients) - newest if newest else 0
            closing, self.clients = self.clients[keep:], self.clients[:keep]
        else:
            wanted = set(client_ids)
            closing = [c for c in self.clients if c.client_id in wanted]
            self.clients = [c for c in self.clients if c.client_id not in wanted]
        for client in closing:
            if client.ended:
                continue
            if how == "reset":
                client.transport.abort()
                continue
            if how == "disconnect":
                client.transport.write(mqtt.disconnect())
            client.transport.close()
        await asyncio.sleep(0)
        return len(closing)

    async def run(self):
        await agent.serve({name: getattr(self, name)
                           for name in ("open", "echo", "ended", "forget_ended", "close")})


if __name__ == "__main__":
    agent.use_all_files()
    asyncio.run(Load().run())
