"""Signing in and out, and what another site's page cannot make a browser do (P59, P63, S9, S10, S12, S23)."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from chat.models import SignIn, User
from tests.acts import open_thread
from tests.site import PASSWORD, Site

OWN = {"Sec-Fetch-Site": "same-origin"}  # what a browser says of a request from this site's own pages
ALICE = {"name": "alice@example.com", "password": PASSWORD}

# Where a browser would leave this site, or might (WHATWG URL: backslashes are slashes, tabs and line ends are dropped).
ELSEWHERE = [
    *(
        "https://evil.test",
        "http://evil.test/",
        "//evil.test",
        "///evil.test",
        "////evil.test/%2e%2e",
        "//evil.test@localhost",
    ),
    *(
        "/\\evil.test",
        "\\/evil.test",
        "\\\\evil.test",
        "/\\/evil.test",
        "\\evil.test",
        "/\t/evil.test",
        "\t//evil.test",
    ),
    *("/\n/evil.test", "/\r/evil.test", "\n//evil.test", " //evil.test", "\x00//evil.test", "/\x00/evil.test"),
    *("javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\nscript:alert(1)", "data:text/html,x", "vbscript:x"),
    *(
        "https:evil.test",
        "https:/evil.test",
        "//[::1]",
        "//[",
        "//[evil",
        "http://[",
        "evil.test",
        "../evil",
        "?next=//evil.test",
    ),
    *(
        "#//evil.test",
        "//localhost:80@evil.test",
        "//evil.test\\@localhost",
        "/\u2028/evil.test",
        "//evil%E3%80%82test",
    ),
    *("blob:https://evil.test/x", "ftp://evil.test", "/\x85/evil.test", "%2f%2fevil.test", "", "."),
]
HERE = ["/", "/chat/t1", "/chat/t1?before=7", "/a//b", "/%2f%2fevil.test", "/?next=https://evil.test", "/#//evil.test"]


def test_the_table_of_payloads_is_long_enough() -> None:
    assert len(set(ELSEWHERE)) >= 24


def test_after_signing_in_nobody_is_led_away_from_this_site(site: Site) -> None:
    """P59, S12: in the form, in the link, and already signed in."""
    browser = site.signed_in()
    for target in [*ELSEWHERE, *map(quote, ELSEWHERE)]:
        led = browser.get("/login", query_string={"next": target}).headers["Location"]
        assert led == "/" or led.startswith("/%"), target
        assert not led.startswith("/%2f".upper()) or target.startswith("%2F"), target
    for target in HERE:
        assert browser.get("/login", query_string={"next": target}).headers["Location"] == target


@pytest.mark.parametrize("target", ["//evil.test", "/\\evil.test", "//[", "javascript:alert(1)", "/chat/t1"])
def test_nor_by_the_form_that_signs_in(site: Site, target: str) -> None:
    form = site.browser().get("/login", query_string={"next": target})
    assert b"evil.test" not in form.data
    assert b"javascript:alert" not in form.data
    answer = site.browser().post("/login", data={**ALICE, "next": target})
    assert (answer.status_code, answer.headers["Location"]) == (303, target if target == "/chat/t1" else "/")


def test_a_session_says_who_i_am(site: Site) -> None:
    alice = site.people.alice
    answer = site.signed_in().get("/session")
    assert answer.json == {
        "user": {"id": alice.user.id, "name": "alice@example.com", "role": "member"},
        "tenant": {"id": alice.user.tenant_id, "name": "Acme"},
        "participant": {"id": alice.participant_id},
    }


def test_a_page_signs_in_by_json_too(site: Site) -> None:
    browser = site.browser()
    answer = browser.post("/login", json=ALICE)
    assert (answer.status_code, answer.json["user"]["name"]) == (200, "alice@example.com")
    assert browser.get("/session").status_code == 200


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"null", b"{"])
def test_json_that_is_no_sign_in_is_refused_as_json(site: Site, body: bytes) -> None:
    answer = site.browser().post("/login", data=body, headers=OWN, content_type="application/json")
    assert (answer.status_code, answer.mimetype) == (400, "application/json")


@pytest.mark.parametrize("name", ["alice@example.com", "ALICE@example.com", "  alice@example.com "])
def test_a_name_is_known_however_it_is_written(site: Site, name: str) -> None:
    assert site.browser().post("/login", json={"name": name, "password": PASSWORD}).status_code == 200


def test_a_wrong_password_an_unknown_name_and_a_disabled_user_are_answered_alike(site: Site) -> None:
    """S23."""
    site.store.write(lambda s: s.query(User).filter_by(name="bob@example.com").update({"active": False}))
    wrong = [
        {**ALICE, "password": "wrong"},
        {**ALICE, "password": PASSWORD.upper()},
        {**ALICE, "password": ""},
        {**ALICE, "name": "nobody@example.com"},
        {**ALICE, "name": ""},
        {**ALICE, "name": "bob@example.com"},
    ]
    by_json = {(a.status_code, a.data) for a in (site.browser().post("/login", json=body) for body in wrong)}
    assert len(by_json) == 1
    assert next(iter(by_json))[0] == 401
    by_form = [site.browser().post("/login", data={**body, "name": ""}) for body in wrong]
    assert {(answer.status_code, answer.data) for answer in by_form} == {(401, by_form[0].data)}


def cookie(browser: Any) -> Any:
    return browser.get_cookie("backchannel")


def test_the_cookie_is_kept_from_scripts_and_from_other_sites(site: Site) -> None:
    found = cookie(site.signed_in())
    assert (found.http_only, found.same_site, found.path) == (True, "Lax", "/")
    assert not found.secure
    assert site.keys["alice"] not in found.value


def test_a_sign_in_outlives_the_browser_but_not_its_days(site: Site) -> None:
    browser = site.signed_in()
    left = cookie(browser).expires - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)
    assert "Set-Cookie" not in browser.get("/session").headers


def test_behind_https_the_cookie_is_sent_by_https_alone(site: Site, tmp_path: Any) -> None:
    secure = Site(site.store, site.people, tmp_path / "secure", PUBLIC_URL="https://chat.example.com")
    answer = secure.browser().post("/login", json=ALICE)
    assert "Secure" in answer.headers["Set-Cookie"]


def test_every_login_is_a_session_of_its_own(site: Site) -> None:
    """S9: nothing that was known before the login is worth anything after it."""
    browser = site.signed_in()
    first = cookie(browser).value
    browser.post("/login", data=ALICE, headers=OWN)
    assert cookie(browser).value != first
    hashes = site.store.read(lambda s: [row.token_hash for row in s.query(SignIn)])
    assert len(set(hashes)) == 2
    assert not [hash for hash in hashes if hash in first]


def test_an_old_cookie_is_worth_nothing_after_signing_out(site: Site) -> None:
    browser, other = site.signed_in(), site.signed_in()
    old = cookie(browser).value
    assert browser.post("/logout", headers=OWN).headers["Location"] == "/login"
    assert browser.get("/session").status_code == 401
    thief = site.browser()
    thief.set_cookie("backchannel", old)
    assert thief.get("/session").status_code == 401
    assert other.get("/session").status_code == 200


def test_signing_out_by_a_program_is_answered_without_a_page(site: Site) -> None:
    browser = site.signed_in()
    assert browser.post("/logout", headers={**OWN, "Accept": "application/json"}).status_code == 204
    assert browser.get("/session").status_code == 401


@pytest.mark.parametrize("column", ["revoked_at", "expires_at"])
def test_a_session_that_is_over_in_the_database_is_over(site: Site, column: str) -> None:
    """P26."""
    browser = site.signed_in()
    site.store.write(lambda s: s.query(SignIn).update({column: 1}))
    assert browser.get("/session").status_code == 401
    assert browser.get("/").headers["Location"] == "/login?next=/"


def test_a_disabled_user_is_out_at_once(site: Site) -> None:
    browser = site.signed_in()
    site.store.write(lambda s: s.query(User).filter_by(name="alice@example.com").update({"active": False}))
    assert browser.get("/session").status_code == 401
    assert site.call("alice", "GET", "/session").status_code == 401


def test_a_forged_cookie_is_nobodys(site: Site) -> None:
    true = cookie(site.signed_in()).value
    for value in ("", "x", "e30.x.y", true[:-9] + ("A" if true[-9] != "A" else "B") + true[-8:], "{}" * 1000):
        thief = site.browser()
        thief.set_cookie("backchannel", value)
        assert thief.get("/session").status_code == 401, value


# P63: (what the browser says, with a cookie: may it change something?, may it read?)
ORIGINS: list[tuple[dict[str, str], bool, bool]] = [
    ({"Sec-Fetch-Site": "same-origin"}, True, True),
    ({"Sec-Fetch-Site": "none"}, True, True),
    ({"Sec-Fetch-Site": "same-site"}, False, False),
    ({"Sec-Fetch-Site": "cross-site"}, False, False),
    ({"Sec-Fetch-Site": ""}, False, False),
    ({"Sec-Fetch-Site": "SAME-ORIGIN"}, False, False),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"}, False, False),
    ({"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.test"}, True, True),
    ({"Origin": "http://localhost"}, True, True),
    ({"Origin": "https://localhost"}, True, True),
    ({"Origin": "http://evil.test"}, False, False),
    ({"Origin": "http://localhost.evil.test"}, False, False),
    ({"Origin": "http://evil.test#localhost"}, False, False),
    ({"Origin": "http://localhost:81"}, False, False),
    ({"Origin": "http://localhost@evil.test"}, False, False),
    ({"Origin": "null"}, False, False),
    ({"Origin": ""}, False, False),
    ({"Origin": "http://["}, False, False),
    ({}, False, True),
]


def test_another_sites_page_cannot_use_a_persons_cookie(site: Site) -> None:
    browser, thread_id = site.signed_in(), open_thread(site.store, site.people.alice)
    for headers, may_change, may_read in ORIGINS:
        changed = browser.post(f"/threads/{thread_id}/messages", json={"text": "hi"}, headers=headers)
        assert changed.status_code == (201 if may_change else 403), headers
        assert may_change or changed.json["error"]["code"] == "cross_site"
        assert browser.get("/threads", headers=headers).status_code == (200 if may_read else 403), headers
    listed = browser.get(f"/threads/{thread_id}/messages").json["items"]
    assert len(listed) == len([may for _, may, _ in ORIGINS if may])


def test_nor_sign_a_person_in_or_out(site: Site) -> None:
    browser = site.signed_in()
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert browser.post("/logout", headers=foreign).status_code == 403
    assert browser.post("/login", data=ALICE, headers=foreign).status_code == 403
    assert site.browser().post("/login", data=ALICE, headers={"Origin": "http://evil.test"}).status_code == 403
    assert browser.get("/session").status_code == 200


def test_a_program_with_a_key_needs_neither_header(site: Site) -> None:
    assert site.call("alice", "POST", "/threads", {"agent": "echo"}).status_code == 201


def test_a_link_from_another_site_leads_here_and_to_the_login(site: Site) -> None:
    """A browser keeps saying cross-site through the redirect to the login page."""
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert site.browser().get("/login?next=/chat/t1", headers=link).status_code == 200
    assert site.browser().get("/", headers=link).status_code == 302
    assert site.signed_in().get("/", headers=link).status_code == 200
