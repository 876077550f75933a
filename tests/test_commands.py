"""What an operator does at a terminal: each command does what it says, and a refusal is one line."""

from collections.abc import Iterator

import pytest
from click.testing import Result

from chat import accounts, agents
from chat.models import Agent, ApiKey, Tenant, User
from tests.acts import open_thread
from tests.kept_logging import kept_logging
from tests.site import PASSWORD, Site


@pytest.fixture(autouse=True)
def _logging_kept() -> Iterator[None]:
    with kept_logging():
        yield


def command(site: Site, *words: str) -> Result:
    return site.app.test_cli_runner().invoke(args=["accounts", *words])


def lines(result: Result) -> list[str]:
    """What a command that went well has said."""
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def refusal(result: Result) -> str:
    """The one line of a command that was refused."""
    assert result.exit_code == 1, result.output
    [line] = result.output.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


def add_user(site: Site, name: str, *more: str) -> Result:
    return command(site, "add-user", name, "--tenant", "Acme", "--password", PASSWORD, *more)


def test_a_user_who_is_added_may_sign_in(site: Site) -> None:
    assert lines(add_user(site, "Dora@example.com")) == ["Dora@example.com may sign in."]
    browser = site.browser()
    answer = browser.post("/login", json={"name": "dora@example.com", "password": PASSWORD})
    assert (answer.status_code, answer.json["tenant"]["name"], answer.json["user"]["role"]) == (200, "Acme", "member")
    assert site.store.read(lambda s: s.query(Tenant).count()) == 2, "Acme was there already"


@pytest.mark.parametrize("role", accounts.ROLES)
def test_a_user_has_the_role_that_is_named(site: Site, role: str) -> None:
    lines(add_user(site, "dora@example.com", "--role", role))
    assert site.store.read(lambda s: s.query(User.role).filter_by(name="dora@example.com").scalar()) == role


def test_a_tenant_is_made_with_its_first_user(site: Site) -> None:
    lines(command(site, "add-user", "dora@example.com", "--tenant", "New", "--password", PASSWORD))
    names = site.store.read(lambda s: {tenant.name for tenant in s.query(Tenant)})
    assert names == {"Acme", "Evil Corp", "New"}


def test_a_name_that_is_taken_is_refused_and_leaves_no_tenant_behind(site: Site) -> None:
    result = command(site, "add-user", "ALICE@example.com", "--tenant", "New", "--password", PASSWORD)
    assert refusal(result) == "There is a user alice@example.com already."
    assert site.store.read(lambda s: s.query(Tenant).filter_by(name="New").count()) == 0


def test_a_role_that_there_is_not_is_refused(site: Site) -> None:
    assert add_user(site, "dora@example.com", "--role", "queen").exit_code == 2
    assert site.store.read(lambda s: s.query(User).filter_by(name="dora@example.com").count()) == 0


def test_a_disabled_user_is_let_in_no_more(site: Site) -> None:
    browser = site.signed_in("bob")
    assert lines(command(site, "disable-user", "Bob@example.com")) == ["Bob@example.com may no longer sign in."]
    assert browser.get("/session").status_code == 401
    assert site.call("bob", "GET", "/session").status_code == 401
    again = site.browser().post("/login", json={"name": "bob@example.com", "password": PASSWORD})
    assert again.status_code == 401
    assert site.call("alice", "GET", "/session").status_code == 200


def test_a_key_opens_the_doors_of_its_user(site: Site) -> None:
    [key] = lines(command(site, "add-key", "bob@example.com", "--label", "for a script"))
    answer = site.call("anonymous", "GET", "/session", headers={"Authorization": f"Bearer {key}"})
    assert answer.json["user"]["name"] == "bob@example.com"
    assert site.store.read(lambda s: s.query(ApiKey).filter_by(name="for a script").count()) == 1
    assert not site.store.read(lambda s: [row for row in s.query(ApiKey) if key in row.token_hash])


@pytest.mark.parametrize("words", [("disable-user",), ("add-key",)])
def test_who_is_not_there_is_told_in_one_line(site: Site, words: tuple[str, ...]) -> None:
    assert refusal(command(site, *words, "nobody@example.com")) == "There is no user nobody@example.com."


def test_an_agent_that_is_added_is_known_by_its_token_and_its_secret(site: Site) -> None:
    said = dict(line.split() for line in lines(command(site, "add-agent", "new", "https://a.test", "--tenant", "Acme")))
    assert set(said) == {"agent_id", "agent_token", "webhook_secret"}
    found = site.store.read(lambda s: agents.agent_by_token(s, said["agent_token"]))
    assert found is not None
    assert (found.id, found.name, found.url) == (said["agent_id"], "new", "https://a.test")
    assert said["webhook_secret"] == site.secret_of(found)
    assert open_thread(site.store, site.people.alice)
    assert site.call("alice", "POST", "/threads", {"agent": "new"}).status_code == 201


@pytest.mark.parametrize(
    ("url", "why"),
    [
        *(
            (url, "is not an http URL")
            for url in ("ftp://a.test/", "a.test", "", "file:///etc/passwd", "http://", "//a")
        ),
        *((url, "cannot be read") for url in ("http://[::1", "http://x:99999/", "http://x:y/", f"http://{'a' * 70}/")),
    ],
)
def test_an_agents_url_that_cannot_be_called_is_refused_with_a_reason(site: Site, url: str, why: str) -> None:
    said = refusal(command(site, "add-agent", "new", url, "--tenant", "New"))
    assert said == f"the agent's URL {why}"
    assert site.store.read(lambda s: s.query(Agent).count()) == 2
    assert site.store.read(lambda s: s.query(Tenant).filter_by(name="New").count()) == 0


def test_an_agents_name_is_its_own_in_its_tenant_alone(site: Site) -> None:
    taken = command(site, "add-agent", "echo", "https://a.test", "--tenant", "Acme")
    assert refusal(taken) == "There is an agent echo already."
    lines(command(site, "add-agent", "echo", "https://a.test", "--tenant", "New"))


@pytest.mark.parametrize("name", ["", " ", "\t", "a\nb", "x" * 256, "\x1b[31m"])
def test_a_name_that_nobody_could_type_again_is_refused(site: Site, name: str) -> None:
    for result in (
        add_user(site, name),
        command(site, "add-user", "dora@example.com", "--tenant", name, "--password", PASSWORD),
        command(site, "add-agent", name, "https://a.test", "--tenant", "Acme"),
        command(site, "add-key", "bob@example.com", "--label", name),
    ):
        assert "must be 1 to 255 printable characters" in refusal(result)
    counts = site.store.read(lambda s: [s.query(each).count() for each in (Tenant, User, Agent)])
    assert counts == [2, 4, 2]


def test_the_list_shows_everybody_by_tenant(site: Site) -> None:
    lines(command(site, "disable-user", "bob@example.com"))
    assert lines(command(site, "list")) == [
        "Acme  agent  echo  http://192.0.2.1/",
        "Acme  user   alice@example.com  member",
        "Acme  user   bob@example.com  disabled",
        "Acme  user   olga@example.com  operator",
        "Evil Corp  agent  echo  http://192.0.2.2/",
        "Evil Corp  user   charlie@example.com  member",
    ]


def test_a_key_that_is_revoked_opens_nothing_any_more(site: Site) -> None:
    lines(command(site, "add-key", "bob@example.com", "--label", "for a script"))
    first, second = lines(command(site, "list-keys", "bob@example.com"))
    assert first.endswith("  test")
    assert second.endswith("  for a script")
    key_id = first.split()[0]
    assert lines(command(site, "revoke-key", key_id)) == [f"{key_id} opens nothing any more."]
    assert site.call("bob", "GET", "/session").status_code == 401
    assert site.call("alice", "GET", "/session").status_code == 200
    assert lines(command(site, "list-keys", "bob@example.com"))[0] == f"{first}  (revoked)"
    assert refusal(command(site, "revoke-key", key_id)) == f"There is no key {key_id} that could be revoked."


def test_an_agents_old_token_ends_with_the_new_one(site: Site) -> None:
    [line] = lines(command(site, "rotate-agent", "echo", "--tenant", "Acme"))
    assert line.split()[0] == "agent_token"
    found = site.store.read(lambda s: agents.agent_by_token(s, line.split()[1]))
    assert found is not None
    assert found.id == site.people.agent.id
    assert site.store.read(lambda s: agents.agent_by_token(s, site.people.agent_token)) is None
    assert site.store.read(lambda s: agents.agent_by_token(s, site.people.evil_agent_token)) is not None


def test_an_agent_goes_only_if_nothing_was_said_to_it(site: Site) -> None:
    open_thread(site.store, site.people.alice)
    said = refusal(command(site, "remove-agent", "echo", "--tenant", "Acme"))
    assert said == "There are threads with echo (1); rotate-agent shuts it out."
    assert lines(command(site, "remove-agent", "echo", "--tenant", "Evil Corp")) == ["echo is removed."]
    assert site.store.read(lambda s: s.query(Agent.id).scalar()) == site.people.agent.id
    assert refusal(command(site, "remove-agent", "echo", "--tenant", "New")) == "There is no agent echo of New."
