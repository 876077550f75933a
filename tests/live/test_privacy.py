"""What must never stand in a log: what people say (P58), and what lets somebody in (P56)."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack
from uuid import uuid4

from tests.live.kills import kill_a_worker
from tests.live.people import Person, agent_by_command, by_command
from tests.live.test_streams import Browser
from tests.live.test_webhook import langgraph, post, signed
from tests.server import Server
from tests.until import until

CANARY = "canary-in-the-coal-mine"


def test_no_message_and_no_credential_ever_stands_in_the_log(breakable: Server) -> None:
    """Also when things go wrong, which is when logs grow talkative."""
    name = f"{uuid4().hex[:8]}@example.com"
    alice = by_command(breakable, name, "demo")
    nowhere = f"agent-{uuid4().hex[:8]}"
    agent = agent_by_command(breakable, nowhere, "demo", f"http://127.0.0.1:9/{CANARY}")
    browser = Browser(breakable, name, f"password of {name}")
    thread_id = alice.new_thread()
    start = len(breakable.log())
    with ExitStack() as stack:
        readers = [stack.enter_context(alice.reader(path)) for path in ("/stream", f"/stream?focus={thread_id}")]
        stack.enter_context(browser.reader())
        alice.say(thread_id, CANARY, data={CANARY: CANARY}, client_id=CANARY)
        readers[0].wait_for_text(f"You said: {CANARY}")
        alice.say(alice.new_thread(nowhere), CANARY)
        go_wrong(alice, thread_id)
        os.kill(breakable.broker(), signal.SIGKILL)
        breakable.reply(thread_id, f"{CANARY} without a broker", f"{thread_id} broker")
        readers[0].wait_for_text(f"{CANARY} without a broker")
        kill_a_worker(breakable)
    until(breakable.is_ready)
    log = breakable.log()[start:]
    assert "refused webhook" in log, "this is another log"
    assert "AGENT_ALLOW does not name" in log
    assert CANARY not in log
    secrets = [alice.token, breakable.agent_token, breakable.webhook_secret, agent["agent_token"]]
    secrets += [agent["webhook_secret"], f"password of {name}", browser.cookie.partition("=")[2]]
    assert all(len(secret) > 20 for secret in secrets)
    assert [secret for secret in secrets if secret in log] == []


def go_wrong(alice: Person, thread_id: str) -> None:
    """Everything that may be refused or fail with the text in hand."""
    server, text = alice.server, {"text": CANARY}
    body = json.dumps({"thread_id": thread_id, "message": text}).encode()
    key = {"Authorization": f"Bearer {server.agent_token}", "Idempotency-Key": CANARY}
    statuses = [
        post(server, body)[0],
        post(server, body, {"Authorization": f"Bearer {server.agent_token}"})[0],
        post(server, body + b"}", key)[0],
        post(server, body, key)[0],
        post(server, body.replace(b"mine", b"MINE"), key)[0],
        post(server, body, signed(server, body, age=1000))[0],
        post(server, langgraph(thread_id, CANARY, "error", error=CANARY), key | {"Idempotency-Key": uuid4().hex})[0],
        alice.call("POST", f"/threads/{CANARY}/messages", text)[0],
        alice.call("POST", f"/threads/{thread_id}/messages", {"text": CANARY * 2000})[0],
        alice.call("POST", f"/threads/{thread_id}/messages", {**text, "client_id": CANARY})[0],
        server.call("POST", "/login", {"name": CANARY, "password": CANARY}, None, {"Content-Type": "application/json"})[
            0
        ],
    ]
    assert statuses == [401, 400, 400, 200, 409, 401, 200, 404, 400, 409, 401]
