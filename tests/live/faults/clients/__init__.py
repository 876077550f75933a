"""Outside clients of a stream, each kind in a process of its own; none shares code with the server.

Each obeys JSON lines: {"do": "watch", "who", "url", "path", "token", "cursor", ...}, {"do": "leave", "who"}, and for a
page {"do": "look", "who"}. Each tells JSON lines {"who", "t" (Unix seconds), "event", ...}: every event by its own name
with its `id`, a `message` with {thread, message, seq, text}; `open`, `end {how}`, `knock` (ours alone, before it
connects), and `state {thread, shown}` after a reset.
"""
