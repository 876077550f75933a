"""A page is bounded in bytes: 200 of the largest messages would be a hundred megabytes."""

from functools import partial
from types import SimpleNamespace

import pytest

from chat import log, pages
from chat.pages import fitting
from chat.store import Store
from tests.acts import history, open_thread, say


@pytest.fixture
def thread(store: Store, people: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(pages, "PAGE_SIZE", 1000)
    thread_id = open_thread(store, people.alice)
    for number in range(9):
        say(store, people.alice, thread_id, f"{number}" * 400)
    return thread_id


@pytest.mark.parametrize(
    ("sizes", "count"), [([], 1), ([9], 1), ([2000], 1), ([400, 400, 400], 2), ([1000, 1], 1), ([0] * 9, 9)]
)
def test_a_page_takes_what_fits_and_at_least_one(sizes: list[int], count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_SIZE", 1000)
    assert fitting(sizes) == count


def test_a_reader_behind_large_messages_gets_them_in_several_pages_without_a_gap(
    store: Store, people: SimpleNamespace, thread: str
) -> None:
    who, seqs, sizes = people.alice.participant_id, [0], []
    while page := store.read(partial(log.after, log=who, seq=seqs[-1], limit=200)):
        if not page.events:
            break
        seqs += [event.seq for event in page.events]
        sizes.append(sum(len(event.data) for event in page.events if event.kind == "message"))
    assert seqs == list(range(page.head.seq + 1))  # type: ignore[union-attr]
    assert len(sizes) > 4
    assert max(sizes) < 4 * 1000


@pytest.mark.parametrize("way", ["before", "after"])
def test_a_history_of_large_messages_is_read_in_several_pages_without_a_gap(
    store: Store, people: SimpleNamespace, thread: str, way: str
) -> None:
    texts: list[str] = []
    position = {"before": None, "after": 0}[way]
    while True:
        page = history(store, people.alice, thread, **{way: position}, limit=200)
        found = [message["text"][0] for message in page["items"]]
        assert 0 < len(found) <= 2
        texts = found + texts if way == "before" else texts + found
        if page["next"] is None:
            break
        position = page["next"]
    assert texts == [str(number) for number in range(9)]
