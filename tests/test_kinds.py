"""agents.toml: what it may say, and in one line what is wrong with what it must not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents import kinds
from agents.function import Function
from agents.langgraph import LangGraph
from agents.openai import OpenAI
from chat import agents as stored
from chat.errors import Conflict
from chat.models import Agent, Tenant
from chat.store import Store
from chat.tokens import hash_token
from config import Config, ConfigError

OPENAI = 'name = "gpt"\nkind = "openai"\ntenants = ["Acme"]\nbase_url = "http://127.0.0.1:1/v1"\nmodel = "m"\n'
GRAPH = 'name = "g"\nkind = "langgraph"\ntenants = ["Acme"]\nurl = "http://127.0.0.1:1"\nassistant = "a"\n'
FUNCTION = 'name = "typed"\nkind = "function"\ntenants = ["Acme"]\nmodule = "tests.fakes.functions"\n'
WEBHOOK = 'name = "w"\nkind = "webhook"\ntenants = ["Acme"]\nurl = "https://a.example/ask"\n'


def load(folder: Path, *agents: str, text: str | None = None) -> kinds.Agents:
    path = folder / "agents.toml"
    path.write_text("".join(f"[[agents]]\n{agent}\n" for agent in agents) if text is None else text)
    return kinds.load(Config(AGENTS_FILE=str(path)))


def test_each_kind_is_read_into_what_it_is(tmp_path: Path) -> None:
    found = load(tmp_path, OPENAI, GRAPH, FUNCTION, WEBHOOK)
    assert list(found) == [("Acme", name) for name in ("gpt", "g", "typed", "w")]
    gpt, graph, function, webhook = found.values()
    assert isinstance(gpt, OpenAI)
    assert (gpt.temperature, gpt.max_tokens, gpt.history, gpt.stall_seconds) == (None, None, 20, 60)
    assert isinstance(graph, LangGraph)
    assert graph.stream
    assert isinstance(function, Function)
    assert webhook.webhook_url == "https://a.example/ask"


def test_an_agent_may_be_several_tenants_and_two_may_have_one_name(tmp_path: Path) -> None:
    other = OPENAI.replace("Acme", "Evil Corp").replace('"m"', '"n"')
    found = load(tmp_path, OPENAI.replace('["Acme"]', '["Acme", "Beta"]'), other)
    assert set(found) == {("Acme", "gpt"), ("Beta", "gpt"), ("Evil Corp", "gpt")}


def test_what_is_secret_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "canary")
    [agent] = load(tmp_path, f'{OPENAI}api_key_env = "THE_KEY"').values()
    assert isinstance(agent, OpenAI)
    assert agent.api_key == "canary"
    assert "canary" not in repr(agent)


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        (OPENAI.replace("openai", "gpt"), "agent gpt: its kind must be one of webhook, openai, langgraph, function"),
        (OPENAI.replace("model", "modle"), "agent gpt: unknown setting `modle`"),
        (OPENAI.replace('model = "m"', ""), "agent gpt: the setting `model` is missing"),
        (OPENAI.replace("http://127.0.0.1:1/v1", "model.local"), "agent gpt: `base_url` must be a URL such as"),
        (f'{OPENAI}temperature = "hot"', "agent gpt: `temperature`: Expected `float | null`, got `str`"),
        (f"{OPENAI}temperature = 3", "agent gpt: `temperature`: Expected `float` <= 2.0"),
        (f"{OPENAI}history = -1", "agent gpt: `history`: Expected `int` >= 0"),
        (
            f'{OPENAI}api_key_env = "NOT_SET"',
            "agent gpt: `api_key_env` must be the name of an environment variable that is set",
        ),
        (OPENAI.replace('["Acme"]', '"Acme"'), "agent gpt: `tenants`: Expected `array`, got `str`"),
        (OPENAI.replace('["Acme"]', "[]"), "agent gpt: `tenants`: Expected `array` of length >= 1"),
        (OPENAI.replace('"gpt"', '"\\n"'), "must be 1 to 255 printable characters"),
        (OPENAI.replace('name = "gpt"', ""), "agent 1: the setting `name` is missing"),
        (f"{GRAPH}stream = false", "agent g: without `stream` it needs a `token`, by which its webhook is known"),
        (FUNCTION.replace("typed", "x"), 'agent x: tests.fakes.functions has no function with @agent("x")'),
        (FUNCTION.replace("fakes.f", "fakes.no_f"), "agent typed: the module tests.fakes.no_functions cannot"),
        (WEBHOOK.replace("https", "ftp"), "agent w: `url` must be a URL such as"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_told_in_one_line(tmp_path: Path, agent: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, agent)
    assert str(raised.value).startswith("agents.toml: ")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[agents]", "agents.toml cannot be read: "),
        ("[agents]\nname = 'a'", "it must hold nothing but agents, each under [[agents]]"),
        ("", "it must hold nothing but agents"),
        ("[[agent]]", "it must hold nothing but agents"),
    ],
)
def test_so_is_a_file_that_is_none(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"^agents\.toml") as raised:
        load(tmp_path, text=text)
    assert said in str(raised.value)


def test_two_of_one_name_in_a_tenant_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the tenant Acme has another of this name"):
        load(tmp_path, OPENAI, OPENAI)


@pytest.mark.parametrize(
    ("agents", "said"),
    [
        (
            [GRAPH.replace('["Acme"]', '["Acme", "Beta"]') + 'token = "t"'],
            "agent g: a `token` is for one tenant; describe the agent once for each of its tenants, each time with",
        ),
        ([f'{GRAPH}token = "t"', f'{WEBHOOK}token = "t"'], "agent w: g of Acme has the same `token`; each needs one"),
        (
            [f'{WEBHOOK}token = "t"', WEBHOOK.replace("Acme", "Beta") + 'token = "t"'],
            "agent w: w of Acme has the same `token`; each needs one of its own",
        ),
    ],
)
def test_a_token_says_which_agent_comes_and_of_which_tenant(tmp_path: Path, agents: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, *agents)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_without_a_token_an_agent_may_be_many(tmp_path: Path) -> None:
    assert len(load(tmp_path, OPENAI.replace('["Acme"]', '["Acme", "Beta"]'), GRAPH, WEBHOOK)) == 4


def test_a_file_that_is_named_must_be_there_and_one_that_is_not_need_not(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml cannot be read: No such file"):
        kinds.load(Config(AGENTS_FILE=str(tmp_path / "gone.toml")))
    assert kinds.load(Config()) == {}


def test_the_store_knows_its_name_and_kind_and_no_secret(store: Store, people: SimpleNamespace) -> None:
    def describe(session: Any) -> Agent:
        acme = session.query(Tenant).filter_by(name="Acme").one()
        stored.describe(session, acme, "echo", "openai", "", "a token")  # one that was asked by webhook until now
        return stored.describe(session, acme, "new", "function", "", "")

    new = store.write(describe)
    assert (new.kind, new.url) == ("function", "")
    echo = store.read(lambda s: s.get_one(Agent, people.agent.id))
    assert (echo.kind, echo.url, echo.token_hash) == ("openai", "", hash_token("a token"))
    store.write(describe)
    assert store.read(lambda s: s.query(Agent).filter_by(name="new").count()) == 1
    assert store.read(lambda s: s.query(Agent).filter_by(name="new").one()).token_hash == new.token_hash


def describe(store: Store, tenant: str, **tokens: str) -> None:
    """Start with a file that describes these webhook agents, each with its token."""

    def work(session: Any) -> None:
        owner = session.query(Tenant).filter_by(name=tenant).one()
        for name, token in tokens.items():
            stored.describe(session, owner, name, "webhook", "https://a.example/ask", token)

    store.write(work)


def holders(store: Store, *tokens: str) -> list[str | None]:
    found = [store.read(lambda s, token=token: stored.agent_by_token(s, token)) for token in tokens]
    return [agent.name if agent else None for agent in found]


def test_an_agent_may_be_renamed_and_keep_its_token(store: Store, people: SimpleNamespace) -> None:
    describe(store, "Acme", old="a token")
    describe(store, "Acme", new="a token")
    assert holders(store, "a token") == ["new"]
    describe(store, "Acme", old="another")  # it is back
    assert holders(store, "a token", "another") == ["new", "old"]


def test_two_agents_may_change_their_tokens(store: Store, people: SimpleNamespace) -> None:
    describe(store, "Acme", one="first", two="second")
    describe(store, "Acme", one="second", two="first")
    assert holders(store, "first", "second") == ["two", "one"]
    describe(store, "Acme", one="first", two="")
    assert holders(store, "first", "second") == ["one", None]


def test_the_token_of_another_tenant_is_never_taken(store: Store, people: SimpleNamespace) -> None:
    describe(store, "Evil Corp", theirs="a token")
    with pytest.raises(Conflict, match="the token of ours is that of theirs of Evil Corp; choose another"):
        describe(store, "Acme", ours="a token")
    assert holders(store, "a token") == ["theirs"]
    assert store.read(lambda s: s.query(Agent).filter_by(name="ours").count()) == 0
