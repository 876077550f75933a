"""Ids by RFC 9562, section 5.7 (UUIDv7), and times by RFC 3339."""

import time
from uuid import RFC_4122, UUID

import pytest

from chat.ids import new_id, now_ms, rfc3339
from chat.tokens import hash_token, new_token


def test_an_id_has_the_version_and_the_variant_of_a_uuid_v7() -> None:
    for _ in range(1000):
        id = UUID(new_id())
        assert (id.version, id.variant) == (7, RFC_4122)


def test_its_first_48_bits_are_the_milliseconds_of_its_making() -> None:
    before = now_ms()
    made = int(UUID(new_id())) >> 80
    assert before <= made <= now_ms()


def test_all_other_bits_are_random() -> None:
    """S7. 74 bits: each is set about as often as not."""
    ids = [int(UUID(new_id())) for _ in range(4000)]
    fixed = set(range(76, 80)) | {62, 63} | set(range(80, 128))
    for bit in set(range(128)) - fixed:
        assert 1700 < sum(id >> bit & 1 for id in ids) < 2300, bit
    assert len(set(ids)) == len(ids)


def test_ids_sort_as_text_in_the_order_of_their_making() -> None:
    made = []
    for _ in range(5):
        made.append(new_id())
        then = now_ms()
        while now_ms() == then:
            time.sleep(0)
    assert made == sorted(made)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (1_614_265_330_999, "2021-02-25T15:02:10.999Z"),
        (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
        (None, None),
    ],
)
def test_times_are_written_in_utc_with_milliseconds(ms: int | None, text: str | None) -> None:
    assert rfc3339(ms) == text


def test_a_token_says_what_it_is_and_cannot_be_guessed_from_its_hash() -> None:
    tokens = {new_token("key") for _ in range(100)}
    assert len(tokens) == 100
    assert all(token.startswith("key_") and len(token) == 47 for token in tokens)
    assert not [token for token in tokens if token in hash_token(token)]
