"""The numbers: who may see them, that they are right over all workers, and that a full disk costs only them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agents import endings
from chat.store import Store
from realtime import metrics, metrics_files
from tests.acts import call, open_thread, say, spoken
from tests.site import Site

ROOT = Path(__file__).parent.parent
TOKEN = "a token for metrics"


def numbers(text: str) -> dict[str, float]:
    """Every sample's value by its name and labels, as they are written."""
    families = text_string_to_metric_families(text)
    return {written(sample): sample.value for family in families for sample in family.samples}


def written(sample: Any) -> str:
    labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
    return f"{sample.name}{{{labels}}}" if labels else sample.name


def now() -> dict[str, float]:
    return numbers(metrics.exposition().decode())


def get(site: Site, address: str = "127.0.0.1", **headers: str) -> Any:
    names = {name.replace("_", "-"): text for name, text in headers.items()}
    return site.call("anonymous", "GET", "/metrics", headers=names, environ_base={"REMOTE_ADDR": address})


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
def test_without_a_token_this_machine_may_ask(site: Site, address: str) -> None:
    answer = get(site, address)
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    assert "backchannel_outbox_waiting" in numbers(answer.text)


@pytest.mark.parametrize("address", ["192.0.2.1", "10.0.0.1", "::2", "", "unix:"])
def test_and_nobody_else(site: Site, address: str) -> None:
    assert get(site, address).status_code == 404


@pytest.mark.parametrize("name", ["X_Forwarded_For", "Forwarded", "X_Real_IP", "Via", "X_Forwarded_Proto"])
def test_a_proxy_on_this_machine_asks_on_behalf_of_anybody(site: Site, name: str) -> None:
    assert get(site, **{name: "127.0.0.1"}).status_code == 404


@pytest.fixture
def tokened(store: Store, people: SimpleNamespace, tmp_path: Path) -> Iterator[Site]:
    site = Site(store, people, tmp_path / "tokened", METRICS_TOKEN=TOKEN)
    yield site
    site.app.extensions["store"].close()


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.1"])
def test_with_a_token_it_alone_counts(tokened: Site, address: str) -> None:
    site = tokened
    assert get(site, address).status_code == 404
    assert get(site, address, Authorization="Bearer wrong").status_code == 404
    assert get(site, address, Authorization=f"Basic {TOKEN}").status_code == 404
    assert get(site, address, Authorization=f"Bearer {site.keys['alice']}").status_code == 404
    assert get(site, address, Authorization=f"Bearer {TOKEN}").status_code == 200
    assert get(site, address, Authorization=f"Bearer {TOKEN}", X_Forwarded_For="192.0.2.7").status_code == 200


def test_who_may_not_see_them_is_told_what_is_told_of_nothing(site: Site) -> None:
    refused, nothing = get(site, "192.0.2.1"), site.call("anonymous", "GET", "/nothing")
    assert (refused.status_code, refused.json) == (nothing.status_code, nothing.json)


def test_requests_and_webhooks_are_counted_by_status(site: Site) -> None:
    before = now()
    thread_id = open_thread(site.store, site.people.alice)
    body = {"thread_id": thread_id, **spoken()}
    token = {"Authorization": f"Bearer {site.people.agent_token}", "Idempotency-Key": "a"}
    site.call("anonymous", "POST", "/webhook/chat-response", body, headers=token)
    site.call("anonymous", "POST", "/webhook/chat-response", body)
    site.call("alice", "GET", f"/{thread_id}")
    streamed = token | {"Content-Type": "application/x-ndjson"}
    site.call("anonymous", "POST", "/webhook/events", {"thread_id": thread_id, "run_id": "r"}, headers=streamed)
    assert now()["backchannel_webhook_seconds_count"] == before.get("backchannel_webhook_seconds_count", 0) + 2
    grown = {name for name, value in now().items() if value > before.get(name, 0)}
    assert grown >= {
        'backchannel_webhooks_total{status="200"}',
        'backchannel_webhooks_total{status="401"}',
        'backchannel_requests_total{door="webhook",status="2xx"}',
        'backchannel_requests_total{door="webhook",status="4xx"}',
        'backchannel_requests_total{door="none",status="4xx"}',
        "backchannel_webhook_seconds_count",
    }


def test_a_run_is_counted_when_it_has_ended(site: Site) -> None:
    site.store.after_commit = lambda committed: [
        endings.note(event) for _, _, event in committed if event.kind == "run"
    ]
    thread_id = open_thread(site.store, site.people.alice)
    before = now()
    say(site.store, site.people.alice, thread_id)
    assert now() == before
    run_id = site.store.read(lambda s: s.connection().exec_driver_sql("SELECT id FROM runs").scalar())
    call(site.store, site.people.agent, {"thread_id": thread_id, "run_id": run_id, "status": "error", "error": "no"})
    ended = 'backchannel_runs_ended_total{status="error"}'
    assert now()[ended] == before.get(ended, 0) + 1


def test_every_number_is_explained_in_the_manual() -> None:
    manual = (ROOT / "docs" / "operations.md").read_text()
    families = list(text_string_to_metric_families(metrics.exposition().decode()))
    assert len(families) > 8
    assert [family.name for family in families if f"`{family.name}" not in manual] == []
    assert all(family.documentation for family in families)


# Over several processes

WORKER = """
import sys
from realtime import metrics
metrics.WEBHOOKS.labels("200").inc(int(sys.argv[1]))
metrics.STORE_IN_USE.set(int(sys.argv[1]))
metrics.LOOP_LAG_MAX.set(int(sys.argv[1]))
metrics.LOOP_LAG.observe(0.01)
print(metrics.exposition().decode())
"""
WEBHOOKS, IN_USE = 'backchannel_webhooks_total{status="200"}', "backchannel_store_in_use"
LAG, LAG_MAX = "backchannel_event_loop_lag_seconds_count", "backchannel_event_loop_lag_max_seconds"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (metrics_files.FOLDER, metrics_files.PLACE):
        monkeypatch.setenv(name, "to be restored")
    folder = tmp_path / "var" / "metrics"
    metrics_files.begin(folder)
    return folder


def worker(count: int) -> dict[str, float]:
    """What a worker that counts so far, at the place just taken, sees of all."""
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(count)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return numbers(done.stdout)


def test_workers_are_summed_and_who_takes_a_dead_ones_place_counts_on(folder: Path) -> None:
    assert metrics_files.take_place(folder, []) == 0
    worker(3)
    assert metrics_files.take_place(folder, [0]) == 1
    seen = worker(4)
    assert (seen[WEBHOOKS], seen[IN_USE], seen[LAG], seen[LAG_MAX]) == (7, 7, 2, 4)
    metrics_files.leave_place(folder, 0)
    assert metrics_files.take_place(folder, [1]) == 0
    seen = worker(1)
    assert (seen[WEBHOOKS], seen[IN_USE], seen[LAG], seen[LAG_MAX]) == (8, 5, 3, 4)
    assert len(list(folder.iterdir())) == 10, "files for two places, however many workers there were"


def test_who_died_holds_nothing_open_though_nobody_took_its_place(folder: Path) -> None:
    metrics_files.take_place(folder, [])
    worker(3)
    metrics_files.take_place(folder, [0])
    metrics_files.leave_place(folder, 0)
    seen = worker(4)
    assert (seen[WEBHOOKS], seen[IN_USE], seen[LAG_MAX]) == (7, 4, 4)


def test_a_start_counts_from_nothing(folder: Path) -> None:
    metrics_files.take_place(folder, [])
    worker(3)
    metrics_files.begin(folder)
    metrics_files.take_place(folder, [])
    assert worker(1)[WEBHOOKS] == 1


def test_all_that_is_counted_fits_into_its_room(folder: Path) -> None:
    """More would be mapped without room on the disk, and a full disk would kill the worker."""
    metrics_files.take_place(folder, [])
    worker(1)
    used = [int.from_bytes(path.read_bytes()[:4], sys.byteorder) for path in folder.iterdir()]
    assert max(used) < metrics_files.ROOM / 2
    assert {path.stat().st_size for path in folder.iterdir()} == {metrics_files.ROOM}


def test_without_room_on_the_disk_a_worker_counts_for_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert metrics_files.take_place(folder, []) == 0
    assert metrics_files.FOLDER not in os.environ
    assert worker(3)[WEBHOOKS] == 3
    assert list(folder.iterdir()) == []
