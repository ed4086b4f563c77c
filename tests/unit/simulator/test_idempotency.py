"""One key, one effect: through repetition, concurrency and kill -9."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import urllib3

if TYPE_CHECKING:
    from tests.unit.simulator.conftest import GatewayProcess


def test_a_repeated_request_gets_the_stored_answer(gateway: "GatewayProcess", key: str) -> None:
    first = gateway.authorize(key=key, reference=key)
    second = gateway.authorize(key=key, reference=key)

    assert (second.status, second.data) == (first.status, first.data)
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(gateway.entries(key)) == 1


def test_a_refusal_is_repeated_too(gateway: "GatewayProcess", key: str) -> None:
    first, second = (gateway.authorize("tok_declined", key=key) for _ in range(2))

    assert (second.status, second.json()) == (first.status, first.json())
    assert second.headers["Idempotent-Replayed"] == "true"


def test_a_repetition_tells_what_was_done_then_not_what_is_now(gateway: "GatewayProcess", key: str) -> None:
    first = gateway.authorize(key=key)
    gateway.post("/v1/voids", key + ":void", authorization_key=key)

    assert gateway.authorize(key=key).json() == first.json()


def test_another_body_under_the_same_key_is_refused(gateway: "GatewayProcess", key: str) -> None:
    gateway.authorize(amount=100, key=key, reference=key)

    other = gateway.authorize(amount=101, key=key, reference=key)
    elsewhere = gateway.capture("auth_of_nobody", key=key)

    assert (other.status, other.json()["error"]["code"]) == (422, "idempotency_key_reused")
    assert elsewhere.status == 422
    assert [entry["authorized"] for entry in gateway.entries(key)] == [100]


@pytest.mark.parametrize("path", ["authorizations", "captures", "voids", "refunds"])
def test_no_money_is_moved_without_a_key(gateway: "GatewayProcess", path: str) -> None:
    response = gateway.post(f"/v1/{path}")

    assert (response.status, response.json()["error"]["code"]) == (400, "idempotency_key_missing")


def test_a_key_of_more_than_255_characters_is_refused(gateway: "GatewayProcess") -> None:
    assert gateway.authorize(key="k" * 256).json()["error"]["code"] == "idempotency_key_invalid"


def test_the_result_of_a_key_can_be_asked_for(gateway: "GatewayProcess", key: str) -> None:
    awkward = f"{key}/a b?"
    authorization = gateway.authorized(key=awkward)

    found = gateway.get("/v1/operations/" + quote(awkward, safe=""))

    assert found.json() == {
        "key": awkward,
        "operation": "authorizations",
        "status_code": 200,
        "response": {"id": authorization, "status": "authorized"},
    }
    assert gateway.get(f"/v1/operations/{key}").status == 404


def test_twenty_at_once_with_one_key_have_one_effect(gateway: "GatewayProcess", key: str) -> None:
    together = threading.Barrier(20)

    def authorize(_: int) -> urllib3.BaseHTTPResponse:
        together.wait()
        return gateway.authorize(key=key, reference=key)

    with ThreadPoolExecutor(20) as threads:
        responses = list(threads.map(authorize, range(20)))

    assert {response.status for response in responses} == {200}
    assert len({response.data for response in responses}) == 1
    assert sum("Idempotent-Replayed" not in response.headers for response in responses) == 1
    assert len(gateway.entries(key)) == 1


def test_of_twenty_captures_under_different_keys_one_takes_the_money(gateway: "GatewayProcess") -> None:
    authorization = gateway.authorized()

    with ThreadPoolExecutor(20) as threads:
        responses = list(threads.map(lambda _: gateway.capture(authorization), range(20)))

    assert sorted(response.status for response in responses) == [200] + [402] * 19


def test_void_and_late_authorization_never_both_hold(gateway: "GatewayProcess", key: str) -> None:
    """Whichever comes first, nothing is held in the end."""
    keys = [f"{key}:{number}" for number in range(30)]
    with ThreadPoolExecutor(8) as threads:
        for one in keys:
            threads.submit(gateway.authorize, key=one, reference=key)
            threads.submit(gateway.post, "/v1/voids", one + ":void", authorization_key=one)

    assert {entry["status"] for entry in gateway.entries(key)} <= {"voided"}


def test_kill_9_in_the_middle_loses_no_answered_authorization_and_doubles_none(
    start_gateway: Callable[..., "GatewayProcess"], key: str
) -> None:
    gateway = start_gateway()
    answered: dict[str, bytes] = {}
    enough = threading.Event()

    def authorize_until_killed(thread: int) -> None:
        for number in range(100_000):
            one = f"{key}:{thread}:{number}"
            try:
                answered[one] = gateway.authorize(key=one, reference=key).data
            except urllib3.exceptions.HTTPError:
                unanswered.append(one)
                return
            if len(answered) >= 100:
                enough.set()

    unanswered: list[str] = []
    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(authorize_until_killed, thread) for thread in range(4)]
        assert enough.wait(20)
        gateway.kill()
        for thread in running:
            thread.result()
    gateway.start()

    assert unanswered
    for one, data in answered.items():
        repeated = gateway.authorize(key=one, reference=key)
        assert repeated.data == data
        assert repeated.headers["Idempotent-Replayed"] == "true"
    for one in unanswered:
        assert gateway.authorize(key=one, reference=key).status == 200
    assert len(gateway.entries(key)) == len(answered) + len(unanswered)
