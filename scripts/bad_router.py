"""A router that loses, delays and reorders: AF_PACKET sockets, for kernels without netem.

The kernel of its namespace has the addresses and answers ARP, but must not forward itself.
"""

import heapq
import random
import select
import socket
import threading
import time

_ETH_P_IP = 0x0800
_PACKET_OUTGOING = 4


class BadRouter:
    """A context. sides: (interface, link address of the host there) twice, in a namespace."""

    def __init__(self, namespace, sides, loss=0.04, late=0.08, delay=0.004, seed=1):
        self._random = random.Random(seed)
        self._loss, self._late, self._delay = loss, late, delay
        self._sockets, self._headers = [], []
        with namespace:
            for interface, _ in sides:
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_IP))
                sock.bind((interface, _ETH_P_IP))
                self._sockets.append(sock)
        for interface, mac in sides:
            own = namespace.mac(interface)
            self._headers.append(bytes.fromhex((mac + own).replace(":", "")) + b"\x08\x00")
        self._end, self._wake = socket.socketpair()
        self._waiting, self._order = [], 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._wake.close()
        self._thread.join()
        for sock in (*self._sockets, self._end):
            sock.close()

    def _run(self):
        while True:
            timeout = self._waiting[0][0] - time.monotonic() if self._waiting else None
            ready, _, _ = select.select([*self._sockets, self._end], [], [],
                                        timeout if timeout is None else max(0, timeout))
            if self._end in ready:
                return
            for sock in ready:
                self._take(self._sockets.index(sock))
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                _, _, side, frame = heapq.heappop(self._waiting)
                self._sockets[side].send(frame)

    def _take(self, side):
        frame, origin = self._sockets[side].recvfrom(65536)
        if origin[2] == _PACKET_OUTGOING or self._random.random() < self._loss:
            return
        late = self._random.random() < self._late
        self._order += 1
        heapq.heappush(self._waiting, (time.monotonic() + self._delay * (1 + 2 * late), self._order,
                                       1 - side, self._headers[1 - side] + frame[14:]))
