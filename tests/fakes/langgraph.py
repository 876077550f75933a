"""A LangGraph Server, as langgraph-api 0.16.7 answers (`python -m tests.fakes.langgraph PORT`).

Threads, runs streamed by `messages-tuple` and `values`, runs in the background with their webhook, `join`, `cancel`,
and graphs that call `interrupt()`. SSE with CRLF and a heartbeat, ids by `Content-Location`. A run goes on when who
asked has hung up, as `on_disconnect: continue` has it, and its webhook comes with no Content-Type.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from typing import Any
from uuid import uuid4

from tests.fakes.stage import Closed, Player, serve

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
THREADS: dict[str, dict[str, Any]] = {}
RUNS: dict[str, dict[str, Any]] = {}


class Server(Player):
    def play(self, body: Any) -> None:
        seen, script = self.note(body), self.server.script
        match self.path.partition("?")[0].strip("/").split("/"):
            case _ if script.get("manner") == "refuse":
                self.reply(script["status"], script["error"])
            case ["threads"]:
                self.reply(200, self.thread(body))
            case ["threads", thread_id, "runs"] if thread_id in THREADS:
                run = self.run(thread_id, body)
                threading.Thread(target=self.complete, args=[run, script], daemon=True).start()
                self.reply(200, run)
            case ["threads", thread_id, "runs", "stream"] if thread_id in THREADS:
                self.stream(self.run(thread_id, body), seen, script)
            case ["threads", _, "runs", run_id, "cancel"] if run_id in RUNS:
                RUNS[run_id]["status"] = "interrupted"
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()
            case _:
                self.reply(404, {"detail": "Not found"})

    def get(self) -> None:
        seen = self.note(None)
        match self.path.partition("?")[0].strip("/").split("/"):
            case ["threads", thread_id, "runs"]:
                mine = [run for run in RUNS.values() if run["thread_id"] == thread_id]
                self.reply(200, mine[::-1])
            case ["threads", _, "runs", run_id] if run_id in RUNS:
                self.reply(200, RUNS[run_id])
            case ["threads", thread_id, "runs", run_id, "join"] if run_id in RUNS:
                while RUNS[run_id]["status"] in ("pending", "running"):
                    self.wait(0.02, seen)
                failed = RUNS[run_id]["status"] == "error"
                values = THREADS[thread_id]["values"]
                self.reply(200, {"__error__": {"error": "ValueError", "message": "it broke"}} if failed else values)
            case _:
                self.reply(404, {"detail": "Not found"})

    def thread(self, body: dict[str, Any]) -> dict[str, Any]:
        new = {"thread_id": body["thread_id"], "status": "idle", "values": None, "interrupts": {}, "metadata": {}}
        assert body["if_exists"] == "do_nothing"
        return THREADS.setdefault(body["thread_id"], new)

    def run(self, thread_id: str, body: dict[str, Any]) -> dict[str, Any]:
        assert body["multitask_strategy"] == "interrupt"
        for run in RUNS.values():
            if run["thread_id"] == thread_id and run["status"] in ("pending", "running"):
                run["status"] = "interrupted"
        run = {"run_id": str(uuid4()), "thread_id": thread_id, "assistant_id": str(uuid4()), "status": "running"}
        run |= {"metadata": body["metadata"], "multitask_strategy": "interrupt", "kwargs": body}
        RUNS[run["run_id"]] = run
        return run

    def stream(self, run: dict[str, Any], seen: dict[str, Any], script: dict[str, Any]) -> None:
        place = f"/threads/{run['thread_id']}/runs/{run['run_id']}"
        self.begin(Content_Location=place, Location=f"{place}/stream")
        self.event("metadata", {"run_id": run["run_id"], "attempt": 1}, seen)
        try:
            self.chunk(b": heartbeat\r\n\r\n", seen)
            self.speak(run, seen, script)
        except Closed:
            if run["status"] == "running":  # it goes on without the one who asked
                threading.Thread(target=self.complete, args=[run, {**script, "manner": ""}], daemon=True).start()
            raise
        self.finish_body()
        self.webhook(run)

    def speak(self, run: dict[str, Any], seen: dict[str, Any], script: dict[str, Any]) -> None:
        about = {"langgraph_node": "agent", "thread_id": run["thread_id"]}
        if tool := script.get("tool"):
            self.call_tool(tool, about, seen)
        message = {"id": f"run-{run['run_id']}", "type": "AIMessageChunk", "tool_calls": [], "tool_call_chunks": []}
        for thought in script.get("reasoning", ()):
            kwargs = {"reasoning_content": thought}
            self.event("messages", [{**message, "content": "", "additional_kwargs": kwargs}, about], seen)
        for word in self.words(seen, script):
            if run["status"] == "interrupted":  # cancelled: it ends here, whoever still listens
                seen["closed"] = time.time()
                return
            self.event("messages", [{**message, "content": word, "additional_kwargs": {}}, about], seen)
        if script.get("manner") == "error":
            run["status"] = "error"
            self.event("error", {"error": "ValueError", "message": "it broke"}, seen)
            return
        if not seen["said"]:
            return
        said = len(script["words"])
        usage = {"input_tokens": 7, "output_tokens": said, "total_tokens": 7 + said}
        last = {**message, "content": "", "usage_metadata": usage, "response_metadata": {"model_name": "graph-model"}}
        self.event("messages", [last, about], seen)
        self.settle(run, script)
        if script.get("question"):
            self.event("values", {"__interrupt__": [{"value": script["question"], "id": "i1"}]}, seen)
        else:
            self.event("values", THREADS[run["thread_id"]]["values"], seen)

    def call_tool(self, tool: dict[str, Any], about: dict[str, Any], seen: dict[str, Any]) -> None:
        message = {"id": "lc-1", "type": "AIMessageChunk", "content": "", "tool_calls": []}
        first = {"name": tool["name"], "args": "", "id": "call_1", "index": 0, "type": "tool_call_chunk"}
        self.event("messages", [{**message, "tool_call_chunks": [first]}, about], seen)
        more = {**first, "name": None, "id": None, "args": json.dumps(tool["input"])}
        self.event("messages", [{**message, "tool_call_chunks": [more]}, about], seen)
        done = {"type": "tool", "name": tool["name"], "tool_call_id": "call_1", "status": "success", "id": "t1"}
        self.event("messages", [{**done, "content": tool["output"]}, {**about, "langgraph_node": "tools"}], seen)

    def settle(self, run: dict[str, Any], script: dict[str, Any]) -> None:
        """The run is over: the thread holds what was said, and what it asks. A graph that asks is a success, too."""
        thread = THREADS[run["thread_id"]]
        before = (thread["values"] or {}).get("messages", [])
        human = [{"type": "human", "content": said} for said in asked(run["kwargs"])]
        answer = [{"type": "ai", "content": "".join(script.get("words", ()))}]
        asks = script.get("question")
        thread["values"] = {"messages": [*before, *human, *([] if asks else answer)]}
        thread["interrupts"] = {"task": [{"value": asks, "id": "i1"}]} if asks else {}
        thread["status"] = "interrupted" if asks else "idle"
        run["status"] = "success"

    def complete(self, run: dict[str, Any], script: dict[str, Any]) -> None:
        """In the background: nobody hears it but by `join` and the webhook."""
        for _ in script.get("words", ()):
            time.sleep(script.get("pause", 0))
            if run["status"] != "running":
                return
        self.settle(run, script)
        self.webhook(run)

    def webhook(self, run: dict[str, Any]) -> None:
        if not run["kwargs"].get("webhook"):
            return
        run = {**run, "values": THREADS[run["thread_id"]]["values"], "webhook_sent_at": "2026-01-01T00:00:00Z"}
        headers = {"Authorization": f"Bearer {self.server.script.get('webhook_token', '')}", "Content-Type": ""}
        request = urllib.request.Request(run["kwargs"]["webhook"], json.dumps(run).encode(), headers)
        answer: dict[str, Any] = {"path": "webhook", "status": 0}
        try:
            with OPENER.open(request, timeout=10) as response:
                answer |= {"status": response.status, "body": json.loads(response.read())}
        except urllib.error.HTTPError as error:
            answer |= {"status": error.code, "body": json.loads(error.read())}
        with self.server.lock:
            self.server.seen.append(answer)

    def event(self, name: str, data: Any, seen: dict[str, Any]) -> None:
        self.chunk(f"event: {name}\r\ndata: {json.dumps(data, ensure_ascii=False)}\r\n\r\n".encode(), seen)


def asked(body: dict[str, Any]) -> list[str]:
    if body.get("command"):
        return [body["command"]["resume"]]
    return [message["content"] for message in body["input"]["messages"]]


if __name__ == "__main__":
    serve(Server)
