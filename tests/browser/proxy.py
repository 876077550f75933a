"""A line to the server that can be cut, and that can hang up on every caller."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType

CHUNK = 64 * 1024  # bytes


class Proxy:
    """Passes TCP on to `port` of this machine until told otherwise. Threads end with their sockets."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._hangs_up = False
        self._swallows = False
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Proxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Close what is open. New callers are still served."""
        for end in list(self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def hang_up(self) -> None:
        """Close what is open, and from now on accept callers only to hang up."""
        self._hangs_up = True
        self.cut()

    def swallow(self) -> None:
        """Keep connections open, but pass nothing on to the page: a dead link that nobody closed."""
        self._swallows = True

    def heal(self) -> None:
        self._hangs_up = self._swallows = False

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                caller, _ = self._listener.accept()
                if self._hangs_up:
                    caller.close()
                else:
                    self._connect(caller)

    def _connect(self, caller: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            caller.close()
            return
        server.settimeout(None)
        threading.Thread(target=self._pass_on, args=(caller, server, False), daemon=True).start()
        threading.Thread(target=self._pass_on, args=(server, caller, True), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, to_page: bool) -> None:
        self._open.add(source)
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if not (to_page and self._swallows):
                    sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        self._open.discard(source)
        source.close()
