"""A link to another machine, as good as: a network namespace at the far end of a veth pair. Needs root."""

from __future__ import annotations

import ctypes
import os
import subprocess
from types import TracebackType

from gevent import socket

NEAR, FAR = "10.213.77.1", "10.213.77.2"
CLONE_NEWNET = 0x40000000


class FarAway:
    """Lasts for a `with`. What listens at `NEAR` can be reached from there, until the link is cut."""

    def __init__(self) -> None:
        self._name = f"bc{os.getpid()}"
        self._near, self._far = f"{self._name}n", f"{self._name}f"

    def __enter__(self) -> FarAway:
        ip("netns", "add", self._name)
        ip("link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self._name)
        ip("addr", "add", f"{NEAR}/24", "dev", self._near)
        ip("-n", self._name, "addr", "add", f"{FAR}/24", "dev", self._far)
        ip("link", "set", self._near, "up")
        ip("-n", self._name, "link", "set", self._far, "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ip("link", "del", self._near)  # first: its sockets may keep the namespace for a while
        ip("netns", "del", self._name)

    def cut(self) -> None:
        """From now on no packet arrives, and nobody is told."""
        ip("-n", self._name, "link", "set", self._far, "down")

    def socket(self) -> socket.socket:
        """A new socket over there, not connected yet: a socket stays in the namespace in which it was made."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as here, open(f"/run/netns/{self._name}") as there:
            enter(libc, there.fileno())  # nothing must wait from here on: others would be over there too
            try:
                return socket.socket()
            finally:
                enter(libc, here.fileno())


def enter(libc: ctypes.CDLL, namespace: int) -> None:
    if libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot enter the namespace")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
