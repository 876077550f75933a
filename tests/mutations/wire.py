"""Mutants of frames, of what a proxy is told, and of the page."""

from __future__ import annotations

from typing import Any

from tests.mutations import mutant, replace


@mutant
def id_before_data() -> None:
    """R24: the id goes out first, as a block of its own."""
    from realtime import frames

    before = frames.frame

    def frame(event: str, data: Any, id: str | None = None, retry: int | None = None) -> bytes:
        head = b"" if id is None else f"id: {id}\n\n".encode()
        return head + before(event, data, None, retry)

    replace(frames, "frame", frame)


@mutant
def encode_by_splitlines() -> None:
    """R36: JSON as it comes, one `data` for each of what str.splitlines() takes for a line."""
    from realtime import frames

    def one_line(data: Any) -> bytes:
        line = frames._encode_json(data).decode()
        return "\ndata: ".join(line.splitlines()).encode()

    replace(frames, "_one_line", one_line)


@mutant
def no_accel_header() -> None:
    """R34: nothing tells a proxy not to hold a stream back."""
    from blueprints import streams

    replace(streams, "HEADERS", {"Cache-Control": "no-cache"})


def altered_script(name: str, old: str, new: str) -> None:
    """Serve a script of the page with these words replaced."""
    from flask import Flask, request

    before = Flask.process_response

    def process(self: Any, response: Any) -> Any:
        response = before(self, response)
        if request.path.endswith(f"/js/{name}") and response.status_code == 200:
            response.direct_passthrough = False
            text = response.get_data(as_text=True)
            assert old in text, f"{name} has no {old}"
            response.set_data(text.replace(old, new))
        return response

    replace(Flask, "process_response", process)


@mutant
def native_retry() -> None:
    """R15, R16: a stream that ends is left to the browser, which comes back by itself or not at all."""
    altered_script("receive/stream.js", "  #lose(reason) {", "  #lose(reason) {\n    return")


@mutant
def no_wakes() -> None:
    """R35: the page does not listen to what the browser knows."""
    begin = "export function listenForWakes(connection) {"
    altered_script("receive/wakes.js", begin, f"{begin}\n  return")
