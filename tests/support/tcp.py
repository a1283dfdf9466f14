"""What the tests ask of the kernel's TCP beyond connect, send and receive."""

import fcntl
import hashlib
import socket
import struct
import termios

# linux/tcp.h
_TCP_REPAIR, _TCP_REPAIR_QUEUE, _TCP_QUEUE_SEQ = 19, 20, 21
_REPAIR_OFF_SILENT = -1
_RECEIVE_QUEUE, _SEND_QUEUE = 1, 2


def _in_repair(sock, queue, action):
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR_QUEUE, queue)
        return action()
    finally:
        sock.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, _REPAIR_OFF_SILENT)


def set_initial_sequence(sock, sequence):
    """Chooses the initial sequence number of a socket that is not yet connected."""
    _in_repair(sock, _SEND_QUEUE, lambda: sock.setsockopt(
        socket.IPPROTO_TCP, _TCP_QUEUE_SEQ, struct.pack("=I", sequence)))


def _sequence(sock, queue):
    def read():
        raw = sock.getsockopt(socket.IPPROTO_TCP, _TCP_QUEUE_SEQ, 4)
        return struct.unpack("=I", raw)[0]
    return _in_repair(sock, queue, read)


def send_sequence(sock):
    """The sequence number of the next byte to be written."""
    return _sequence(sock, _SEND_QUEUE)


def receive_sequence(sock):
    """The sequence number of the next byte expected from the peer."""
    return _sequence(sock, _RECEIVE_QUEUE)


def unacknowledged(sock):
    """Bytes written that the peer has not acknowledged (SIOCOUTQ)."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, b"\0" * 4))[0]


def unread(sock):
    """Bytes received that the program has not read (FIONREAD)."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.FIONREAD, b"\0" * 4))[0]


def reset(sock):
    """Closes with an RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def pattern(size, seed=b"mqlb"):
    """`size` bytes that both ends know and in which no two places are alike."""
    return hashlib.shake_128(seed).digest(size)
