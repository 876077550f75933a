"""Signatures against the Standard Webhooks specification, and against the reference package as oracle."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from chat.signatures import SIGNATURES, TOLERANCE, is_fresh, sign, verify
from chat.tokens import webhook_secret

# The vector that the reference implementations share (standard-webhooks/libraries, "test sign function").
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIME = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HEADERS = {"webhook-id": ID, "webhook-timestamp": str(TIME), "webhook-signature": SIGNATURE}

ELSE = "whsec_" + base64.b64encode(b"another secret, of another agent").decode()


def test_the_vector_of_the_specification_is_made_and_read() -> None:
    assert sign(SECRET, ID, TIME, BODY) == HEADERS
    assert verify(SECRET, HEADERS, BODY, TIME)


@pytest.mark.parametrize("text", ["", "{}", '{"text":"Grüße 😀"}', "\x00\u2028"])
def test_what_we_sign_the_reference_package_signs_alike(text: str) -> None:
    theirs = Webhook(SECRET).sign(ID, datetime.fromtimestamp(TIME, UTC), text)
    assert sign(SECRET, ID, TIME, text.encode())["webhook-signature"] == theirs


def test_the_reference_package_takes_what_we_sign_now() -> None:
    now = int(datetime.now(UTC).timestamp())
    secret = webhook_secret("a key", "an agent")
    assert Webhook(secret).verify(b'{"a":1}', sign(secret, ID, now, b'{"a":1}')) == {"a": 1}


def test_bytes_that_are_no_text_are_signed_as_they_are() -> None:
    body = b"\xff\x00\xfe"
    assert verify(SECRET, sign(SECRET, ID, TIME, body), body, TIME)


@pytest.mark.parametrize("skew", range(-600, 601, 30))
def test_a_clock_may_be_five_minutes_off_either_way(skew: int) -> None:
    assert verify(SECRET, HEADERS, BODY, TIME + skew) is (abs(skew) <= TOLERANCE)


@pytest.mark.parametrize(
    ("skew", "fits"), [(299, True), (300, True), (301, False), (-299, True), (-300, True), (-301, False)]
)
def test_the_edges_of_the_tolerance(skew: int, fits: bool) -> None:
    assert verify(SECRET, HEADERS, BODY, TIME + skew) is fits


def both(first: str, second: str) -> dict[str, str]:
    signatures = [sign(secret, ID, TIME, BODY)["webhook-signature"] for secret in (first, second)]
    return {**HEADERS, "webhook-signature": " ".join(signatures)}


@pytest.mark.parametrize("headers", [both(SECRET, ELSE), both(ELSE, SECRET)], ids=["first", "second"])
def test_during_a_rotation_either_of_two_signatures_will_do(headers: dict[str, str]) -> None:
    assert verify(SECRET, headers, BODY, TIME)
    assert verify(ELSE, headers, BODY, TIME)
    assert not verify(webhook_secret("a third", "one"), headers, BODY, TIME)


def test_the_tenth_signature_is_read_and_the_eleventh_is_not() -> None:
    junk = ["v1,AAAA"] * SIGNATURES
    assert verify(SECRET, {**HEADERS, "webhook-signature": " ".join([*junk[1:], SIGNATURE])}, BODY, TIME)
    assert not verify(SECRET, {**HEADERS, "webhook-signature": " ".join([*junk, SIGNATURE])}, BODY, TIME)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"test":2432232314}', "written again, without its space (P47)"),
        (b'{"test": 2432232314}\n', "with a line end"),
        (b'\xef\xbb\xbf{"test": 2432232314}', "with a byte order mark"),
        (b'{"test": 2432232315}', "another"),
        (b"", "empty"),
    ],
)
def test_a_signature_is_over_the_raw_bytes(body: bytes, why: str) -> None:
    assert not verify(SECRET, HEADERS, body, TIME), why


def with_header(name: str, value: str) -> dict[str, str]:
    return {**HEADERS, name: value}


def signed_at(timestamp: str) -> dict[str, str]:
    """A signature that is right for this spelling of the timestamp, so that only the spelling can be refused."""
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, f"{ID}.{timestamp}.".encode() + BODY, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return {**HEADERS, "webhook-timestamp": timestamp, "webhook-signature": signature}


def test_such_a_signature_would_fit_if_the_spelling_did() -> None:
    assert verify(SECRET, signed_at(str(TIME)), BODY, TIME)


# The reference package takes several of these: int() reads underscores, signs, spaces and the digits of any script.
@pytest.mark.parametrize(
    "timestamp",
    [
        *("1_614_265_330", "+1614265330", "-1614265330", " 1614265330", "1614265330 ", "1614265330\n"),
        *("", "0x6037b5f2", "1614265330.0", "1.61e9", "NaN", "inf", "null", "٠١٦١٤٢٦٥٣٣٠", "1614265330²"),
        *("9" * 13, "9" * 5_000, "1614265330000"),
    ],
)
def test_a_timestamp_has_one_spelling(timestamp: str) -> None:
    assert not verify(SECRET, signed_at(timestamp), BODY, TIME)


@pytest.mark.parametrize(
    "signature",
    [
        *("", " ", ",", "v1", "v1,", "v1,,", "v1a," + SIGNATURE[3:], "v2," + SIGNATURE[3:], "V1," + SIGNATURE[3:]),
        *(SIGNATURE[3:], SIGNATURE[:-1], SIGNATURE[:-2], SIGNATURE + "=", SIGNATURE + "A", SIGNATURE + ","),
        *("v1," + "A" * 44, "v1,!" + SIGNATURE[4:], "v1, " + SIGNATURE[3:], SIGNATURE.replace("+", "-")),
        *("v1," + "A" * 100_000, "v1,é", "v1,\udc80", "v1,😀", "v1,\x00", "\x00", "v1:" + SIGNATURE[3:]),
        *("v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",),
    ],
)
def test_a_signature_that_is_none_is_refused_and_raises_nothing(signature: str) -> None:
    assert verify(SECRET, with_header("webhook-signature", signature), BODY, TIME) is False


@pytest.mark.parametrize("id", ["", "another", "é", "\udc80", ID + ".", "x" * 100_000])
def test_an_id_that_was_not_signed_is_refused(id: str) -> None:
    assert verify(SECRET, with_header("webhook-id", id), BODY, TIME) is False


@pytest.mark.parametrize("missing", HEADERS)
def test_each_of_the_three_headers_is_needed(missing: str) -> None:
    headers = {name: value for name, value in HEADERS.items() if name != missing}
    assert verify(SECRET, headers, BODY, TIME) is False


@pytest.mark.parametrize("secret", [ELSE, SECRET[:-4] + "AAAA"], ids=["another's", "changed"])
def test_another_secret_does_not_fit(secret: str) -> None:
    assert verify(secret, HEADERS, BODY, TIME) is False


@pytest.mark.parametrize("missing", HEADERS)
def test_whether_a_request_claims_to_be_signed_now_is_known_without_its_body(missing: str) -> None:
    assert is_fresh(HEADERS, TIME + TOLERANCE)
    assert not is_fresh(HEADERS, TIME + TOLERANCE + 1)
    assert not is_fresh({name: value for name, value in HEADERS.items() if name != missing}, TIME)


def test_each_agent_has_a_secret_of_its_own() -> None:
    secrets = {webhook_secret(key, agent) for key in ("one key", "another") for agent in ("echo", "oracle")}
    assert len(secrets) == 4
    assert all(len(base64.b64decode(secret.removeprefix("whsec_"))) == 32 for secret in secrets)
