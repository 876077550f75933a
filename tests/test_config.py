"""Settings: from the environment, checked at birth."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from config import Config, ConfigError

ROOT = Path(__file__).parent.parent


def config(**environ: str) -> Config:
    return Config.from_env(environ)


def test_without_any_setting_everything_has_a_default() -> None:
    assert config() == Config()
    assert config(PORT="", HOST="") == Config()
    assert config(PATH="/bin", SOMETHING="else") == Config()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        *(("PORT", "9000", 9000), ("STREAMS_PER_WORKER", "0", 0), ("AGENT_READ_SECONDS", "0.5", 0.5)),
        *(("DEMO", text, True) for text in ("1", "true", "TRUE", "yes", "on")),
        *(("DEMO", text, False) for text in ("0", "false", "no", "off")),
        ("PUBLIC_URL", "https://chat.example.com", "https://chat.example.com"),
    ],
)
def test_a_setting_is_read_by_its_name(name: str, text: str, value: Any) -> None:
    assert getattr(config(**{name: text}), name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("PORT", text) for text in ("x", "-1", "0", "1.5", "65536", "1e3")),
        *(("WORKERS", text) for text in ("two", "0", "-2")),
        *(
            ("PUBLIC_URL", text)
            for text in ("chat.example.com", "//a", "https://", "ftp://a", "http://a:b", "http://a?b")
        ),
        *(("AGENT_READ_SECONDS", text) for text in ("-0.1", "nan", "inf")),
        *(("AGENT_RETRY_SECONDS", text) for text in ("1;2", "1,,2", "-1", "soon")),
        *(("AGENT_ALLOW", text) for text in ("10.0.0.1", "agents:", "a b:80")),
        *(("LOG_FORMAT", text) for text in ("x", "JSON", "text json")),
        *(("DEMO", text) for text in ("2", "maybe")),
        *(("SESSION_DAYS", text) for text in ("-1", "99999999")),
        *(("STREAMS_PER_USER", text) for text in ("1000001", "9" * 24)),
    ],
)
def test_a_setting_that_cannot_be_used_is_told_in_one_line(name: str, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        config(**{name: text})
    said = str(raised.value)
    assert said.startswith(f"{name} must be ")
    assert said.endswith(f", not {text!r}")


def test_a_program_ends_with_that_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKERS", "0")
    with pytest.raises(SystemExit, match=r"^WORKERS must be a number from 1 on, not '0'$"):
        Config.or_exit()


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"HOST": "::1", "PORT": "80"}, "http://[::1]:80"),
        ({"PUBLIC_URL": "https://chat.example.com/"}, "https://chat.example.com"),
    ],
)
def test_this_server_has_an_address_for_others(environ: dict[str, str], url: str) -> None:
    assert config(**environ).public_url == url


def test_agents_that_are_allowed_are_named_one_by_one() -> None:
    assert config(AGENT_ALLOW=" 10.0.0.1:80, agents:9000,,").agent_allow == {"10.0.0.1:80", "agents:9000"}
    assert config().agent_allow == frozenset()


def test_waits_between_attempts_are_seconds() -> None:
    assert config().agent_retries == (1, 5, 25, 120)
    assert config(AGENT_RETRY_SECONDS="0.1, 2").agent_retries == (0.1, 2)


def test_a_key_is_made_once_and_kept_to_oneself(tmp_path: Path) -> None:
    settings = config(DATA_DIR=str(tmp_path / "var"))
    key = settings.secret_key()
    assert len(key) >= 64
    assert settings.secret_key() == config(DATA_DIR=str(tmp_path / "var")).secret_key() == key
    assert stat.S_IMODE((tmp_path / "var" / "secret_key").stat().st_mode) == 0o600
    assert config(DATA_DIR=str(tmp_path / "other")).secret_key() != key
    assert (
        config(DATA_DIR=str(tmp_path / "var"), SECRET_KEY="mine, and long enough").secret_key()
        == "mine, and long enough"
    )


def test_of_two_processes_that_make_a_key_at_once_one_does_and_both_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def second(source: str, target: Path) -> None:
        target.write_text("the first one's key")  # by a hair
        link(source, target)

    monkeypatch.setattr(os, "link", second)
    settings = config(DATA_DIR=str(tmp_path))
    assert settings.secret_key() == "the first one's key"
    assert settings.secret_key() == "the first one's key"
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_a_key_is_kept_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is killed while it writes, or a disk that is full, must not leave half a key for the next start."""

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    settings = config(DATA_DIR=str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", full)
        with pytest.raises(OSError, match="no space"):
            settings.secret_key()
    assert list(tmp_path.iterdir()) == []
    assert len(settings.secret_key()) >= 64


@pytest.mark.parametrize("text", ["", "\n", " "])
def test_an_empty_key_is_refused_and_its_file_named(tmp_path: Path, text: str) -> None:
    """Left by a restore or a full disk: with it anybody could sign a webhook."""
    (tmp_path / "secret_key").write_text(text)
    with pytest.raises(ConfigError, match="secret_key is empty"):
        config(DATA_DIR=str(tmp_path)).secret_key()


def test_the_database_is_in_the_data_folder_unless_told_otherwise(tmp_path: Path) -> None:
    assert config(DATA_DIR=str(tmp_path)).database_url == f"sqlite:///{tmp_path}/backchannel.db"
    assert config(DATABASE_URL="sqlite:////x.db").database_url == "sqlite:////x.db"
    assert config().data_dir == ROOT / "var", "it does not depend on where a worker was started"


@pytest.mark.parametrize(
    ("name", "text"), [("SECRET_KEY", "too short"), ("METRICS_TOKEN", " "), ("METRICS_TOKEN", "a b")]
)
def test_a_secret_that_cannot_be_used_is_refused_and_not_repeated(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be ") as raised:
        config(**{name: text})
    assert not str(raised.value).endswith(repr(text))
