"""An agent that is a function: whatever it does ends its answer, and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import gevent
import pytest

from agents.function import Function, agent
from agents.kind import Failed, HungUp, Stalled
from chat.events import Said, Token

Says = Callable[[Callable[..., Any]], Iterator[Said]]


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Says:
    """What such a function says when it is asked."""
    module = ModuleType("a_team_s_own")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def answer(function: Callable[..., Any]) -> Iterator[Said]:
        module.answer = agent("mine")(function)  # type: ignore[attr-defined]
        return Function(name="mine", tenants=["Acme"], module=module.__name__).answer(SimpleNamespace(body={}))  # type: ignore[arg-type]

    return answer


@pytest.mark.parametrize(
    "error",
    [
        ValueError("secret"),
        SystemExit(3),
        KeyboardInterrupt(),
        gevent.Timeout(1),
        gevent.GreenletExit(),
        BaseException(),
    ],
    ids=repr,
)
def test_whatever_it_raises_only_its_answer_fails(
    says: Says, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def raises(question: dict[str, Any]) -> Iterator[str]:
        yield "one "
        raise error

    words = says(raises)
    assert next(words) == Token("one ")
    with pytest.raises(Failed, match="The agent failed"):
        next(words)
    assert f"raised {type(error).__name__} at test_function.py:" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize("ours", [HungUp, Stalled])
def test_who_hangs_up_on_it_is_not_taken_for_its_failure(says: Says, ours: type[BaseException]) -> None:
    ended = []

    def waits(question: dict[str, Any]) -> Iterator[str]:
        try:
            raise ours
        finally:
            ended.append(True)
        yield ""

    with pytest.raises(ours):
        next(says(waits))
    assert ended


@pytest.mark.parametrize("said", ["Yes.", {"type": "token", "text": "Yes."}, Token("Yes.")], ids=str)
def test_what_it_returns_is_said_too(says: Says, said: Any) -> None:
    assert list(says(lambda question: said)) == [Token("Yes.")]


@pytest.mark.parametrize("said", [{"type": "token", "text": "\udfff"}, {"type": "x"}, 7], ids=str)
def test_what_is_no_event_is_told_as_that(says: Says, said: Any) -> None:
    with pytest.raises(Failed, match="what is no event"):
        list(says(lambda question: [said]))
