"""A machine that is gone, as good as: from here on a socket takes no packet and acknowledges none."""

from __future__ import annotations

import ctypes
import socket
import struct

SO_ATTACH_FILTER = 26  # linux, asm-generic/socket.h
DROP = struct.pack("HBBI", 0x06, 0, 0, 0)  # one instruction of linux/filter.h: BPF_RET | BPF_K, with 0 bytes to keep


def vanish(sock: socket.socket) -> None:
    """Nobody is told, not even by a reset. No link of this machine changes: a browser would drop what it loads."""
    program = ctypes.create_string_buffer(DROP)
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", 1, ctypes.addressof(program)))
