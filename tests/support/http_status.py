"""A web server whose status a test sets; run as an agent in a broker namespace."""

import asyncio

from tests.support import agent


class Server:
    def __init__(self):
        self.status = 200
        self.requests = []
        self._server = None

    async def listen(self, address, port):
        self._server = await asyncio.start_server(self._serve, address, port)
        return True

    async def set(self, status):
        self.status = status
        return True

    async def seen(self):
        """(peer address, peer port, request) of all requests so far."""
        return self.requests

    async def _serve(self, reader, writer):
        try:
            request = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            return
        self.requests.append([*writer.get_extra_info("peername")[:2], request.decode("latin-1")])
        writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
                     % self.status)
        writer.close()

    async def run(self):
        await agent.serve({"listen": self.listen, "set": self.set, "seen": self.seen})


if __name__ == "__main__":
    asyncio.run(Server().run())
