"""Asks a LangGraph Server: a thread there for each of ours, a run for each question, its messages as they come.

Source: the LangGraph Server API (`/docs` of any server; read in langgraph-api 0.16.7): `POST /threads`, `POST
/threads/{id}/runs/stream` with the stream modes `messages-tuple` and `values`, `GET .../runs/{id}/join`, `POST
.../runs/{id}/cancel`. A graph that calls `interrupt()` ends its run; the next run resumes it by a command.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import httpx2 as httpx
import msgspec
from msgspec import field

from agents.kind import Asked, Failed, Kind, Text
from agents.messages import Heard
from agents.upstream import ANSWER, brief, calling, events, message_in, refusal
from chat.answers import OURS, interrupt_text, last_ai_text
from chat.events import Done, Question, Said, Whole

WHOM = "LangGraph server"
ALIVE = ("pending", "running", "success")


class LangGraph(Kind, tag="langgraph", frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One assistant, or graph, of one server. With a `token` the server is to post its webhook, and to bring it."""

    url: Text
    assistant: Text
    api_key: str = ""
    stream: bool = True
    nodes: list[str] = field(default_factory=list)  # whose messages are the answer; all if empty
    config: dict[str, Any] = field(default_factory=dict)
    stall_seconds: float = 300.0

    @property
    def secret(self) -> str:
        return self.api_key

    @property
    def answers_later(self) -> bool:
        return not self.stream

    def check(self) -> None:
        if not self.stream and not self.token:
            raise ValueError("without `stream` it needs a `token`, by which its webhook is known")

    def ask(self, asked: Asked) -> None:
        """Begin a run whose webhook brings the answer."""
        with calling(WHOM):
            resumes = self._thread(asked)
            if self._earlier(asked) is None:
                run = self._post(asked, f"/threads/{asked.thread_id}/runs", self._run(asked, resumes)).json()
                asked.rename(str(run["run_id"]))

    def answer(self, asked: Asked) -> Iterator[Said]:
        with calling(WHOM):
            resumes = self._thread(asked)
            heard = Heard(frozenset(self.nodes))
            run_id = self._earlier(asked)
            if run_id is None:
                try:
                    run_id = yield from self._stream(asked, resumes, heard)
                except (httpx.ReadError, httpx.RemoteProtocolError):
                    run_id = self._begun(asked)  # it goes on without us
                    if run_id is None:
                        raise
            yield from self._end(asked, run_id, heard)

    def cancel(self, asked: Asked) -> None:
        """End the run there, too; of one that told no name yet, by what we wrote on it."""
        with calling(WHOM):
            run_id = asked.name or self._begun(asked)
            if run_id:
                path = f"/threads/{asked.thread_id}/runs/{run_id}/cancel?action=interrupt"
                response = asked.client.post(self._url(path), headers=self._headers, timeout=ANSWER)
                if response.status_code >= 500:
                    raise refusal(WHOM, response)

    # One call each

    def _thread(self, asked: Asked) -> bool:
        """Make the thread if there is none; return whether its graph waits for the person's word."""
        body = {"thread_id": asked.thread_id, "if_exists": "do_nothing"}
        thread = self._post(asked, "/threads", body).json()
        waiting = thread.get("interrupts", thread.get("status") == "interrupted")  # old servers tell the status alone
        return bool(waiting)

    def _earlier(self, asked: Asked) -> str | None:
        """The run that an earlier attempt began and that need not be begun again, after a worker's death."""
        if asked.attempt == 1 and not asked.name:
            return None
        return asked.name or self._begun(asked)

    def _begun(self, asked: Asked) -> str | None:
        runs = self._get(asked, f"/threads/{asked.thread_id}/runs?limit=10").json()
        ours = (run for run in runs if (run.get("metadata") or {}).get(OURS) == asked.run_id)
        return next((str(run["run_id"]) for run in ours if run.get("status") in ALIVE), None)

    def _stream(self, asked: Asked, resumes: bool, heard: Heard) -> Generator[Said, None, str]:
        """Begin a run and yield what it says; return its id."""
        path, body = f"/threads/{asked.thread_id}/runs/stream", self._run(asked, resumes)
        body |= {"stream_mode": ["messages-tuple", "values"], "on_disconnect": "continue"}
        with asked.client.stream("POST", self._url(path), json=body, headers=self._headers) as response:
            if response.status_code != 200:
                raise refusal(WHOM, response)
            run_id = str(response.headers.get("content-location", "")).rpartition("/")[2]
            asked.rename(run_id)
            for event in events(WHOM, response):
                yield from heard.event(event.event, decode(event.data))
        return run_id

    def _end(self, asked: Asked, run_id: str, heard: Heard) -> Iterator[Said]:
        """How it ended. The end of a stream alone does not say so (P6)."""
        if not heard.is_interrupted:
            run = self._get(asked, f"/threads/{asked.thread_id}/runs/{run_id}").json()
            if run.get("status") != "success" or heard.values is None:
                path = f"/threads/{asked.thread_id}/runs/{run_id}/join"
                heard.values = self._get(asked, path, wait=self.stall_seconds).json()
        yield from heard.costs()
        yield outcome(heard.values or {}, heard.text)

    def _run(self, asked: Asked, resumes: bool) -> dict[str, Any]:
        text = asked.body["message"]["text"]
        said = (
            {"command": {"resume": text}} if resumes else {"input": {"messages": [{"role": "user", "content": text}]}}
        )
        body = {"assistant_id": self.assistant, "metadata": {OURS: asked.run_id}, "multitask_strategy": "interrupt"}
        if self.token:
            body["webhook"] = asked.callback_url
        if self.config:
            body["config"] = self.config
        return {**body, **said}

    # HTTP

    @property
    def _headers(self) -> dict[str, str]:
        return {"x-api-key": self.api_key} if self.api_key else {}

    def _url(self, path: str) -> str:
        return f"{self.url.rstrip('/')}{path}"

    def _post(self, asked: Asked, path: str, body: dict[str, Any]) -> httpx.Response:
        response = asked.client.post(self._url(path), json=body, headers=self._headers, timeout=ANSWER)
        return self._checked(response)

    def _get(self, asked: Asked, path: str, wait: float = ANSWER) -> httpx.Response:
        return self._checked(asked.client.get(self._url(path), headers=self._headers, timeout=wait))

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if not response.is_success:
            raise refusal(WHOM, response)
        return response


def decode(data: str) -> Any:
    try:
        return msgspec.json.decode(data)
    except msgspec.MsgspecError:
        raise Failed("The LangGraph server said what is no JSON.") from None


def outcome(values: dict[str, Any], shown: str) -> Said:
    """The answer's end. The answer is the newest AI message, as the server's webhook has it."""
    if (failed := values.get("__error__")) is not None:
        said = brief(message_in(msgspec.json.encode(failed)))
        raise Failed(f"The graph failed{f': {said}' if said else ''}.")
    if values.get("__interrupt__"):
        return Question(interrupt_text(values) or "The agent stopped and waits for a decision.")
    text = last_ai_text(values)
    return Whole(text) if text and text != shown else Done()
