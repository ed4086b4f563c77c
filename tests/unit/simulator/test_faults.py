"""Faults strike on purpose, by the key, and never damage the books."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import urllib3

from simulator.faults import share

if TYPE_CHECKING:
    from tests.unit.simulator.conftest import GatewayProcess


def calls_until_success(gateway: "GatewayProcess", token: str, key: str) -> int:
    for number in range(1, 6):
        response = gateway.authorize(token, key=key)
        if response.status == 200:
            return number
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
    raise AssertionError(f"{key} did not succeed within 5 calls")


def lost_answer(*, reference: str) -> bytes:
    """The body of an authorization that is carried out and first not answered."""
    body = {"token": "tok_executes_then_times_out", "amount": 1, "currency": "EUR", "reference": reference}
    return json.dumps(body).encode()


def test_shares_are_spread_evenly_and_differ_by_purpose() -> None:
    shares = [share("error", f"key {number}") for number in range(2000)]

    assert all(0 <= value < 1 for value in shares)
    assert 0.45 < sum(shares) / len(shares) < 0.55
    assert share("error", "a") == share("error", "a") != share("timeout", "a")


def test_the_flaky_card_succeeds_after_at_most_two_failures(gateway: "GatewayProcess", key: str) -> None:
    calls = [calls_until_success(gateway, "tok_flaky", f"{key}:{number}") for number in range(40)]

    assert set(calls) == {1, 2, 3}


def test_the_first_answer_is_held_back_though_the_money_is(
    start_gateway: Callable[..., "GatewayProcess"], key: str
) -> None:
    gateway = start_gateway(GATEWAY_HANG_SECONDS="0.5")
    begun = time.monotonic()

    with pytest.raises(urllib3.exceptions.ProtocolError):
        gateway.authorize("tok_executes_then_times_out", key=key, reference=key)
    held = time.monotonic() - begun
    repeated = gateway.authorize("tok_executes_then_times_out", key=key, reference=key)

    assert held >= 0.5
    assert repeated.status == 200
    assert repeated.headers["Idempotent-Replayed"] == "true"
    assert len(gateway.entries(key)) == 1
    assert "Traceback" not in gateway.log.read_text()


def test_hanging_answers_do_not_block_the_others(gateway: "GatewayProcess", key: str) -> None:
    """More calls hang than there are threads, each for longer than its client waits."""

    def hang(number: int) -> str:
        with pytest.raises(urllib3.exceptions.HTTPError) as raised:
            gateway.request(
                "POST",
                "/v1/authorizations",
                body=lost_answer(reference=key),
                headers={"Idempotency-Key": f"{key}:{number}"},
                timeout=3,
            )
        return type(raised.value).__name__

    with ThreadPoolExecutor(40) as threads:
        hanging = [threads.submit(hang, number) for number in range(40)]
        deadline = time.monotonic() + 3
        while len(gateway.entries(key)) < 40:
            assert time.monotonic() < deadline, "the hanging answers kept others from being served"
        assert not all(call.done() for call in hanging)
        assert gateway.authorize().status == 200
        names = [call.result() for call in hanging]

    assert set(names) == {"ReadTimeoutError", "ProtocolError"}


def test_a_client_that_hangs_up_frees_its_place(gateway: "GatewayProcess", key: str) -> None:
    """Fifty answers are lost one after the other, far more than may hang at once, and each is waited for."""
    for number in range(50):
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            gateway.request(
                "POST",
                "/v1/authorizations",
                body=lost_answer(reference=key),
                headers={"Idempotency-Key": f"{key}:{number}"},
                timeout=0.05,
            )


def test_rates_hit_about_that_share_of_keys(gateway: "GatewayProcess", key: str) -> None:
    with gateway.faults(decline_rate=0.5):
        declined = [gateway.authorize(key=f"{key}:d{number}").status for number in range(200)].count(402)
    with gateway.faults(error_rate=0.5):
        failed = [gateway.authorize(key=f"{key}:e{number}").status for number in range(200)].count(503)

    assert 60 < declined < 140
    assert 60 < failed < 140


def test_an_error_passes_when_the_call_is_repeated(gateway: "GatewayProcess", key: str) -> None:
    with gateway.faults(error_rate=1):
        calls = {calls_until_success(gateway, "tok_visa", f"{key}:{number}") for number in range(30)}

    assert calls == {2, 3}


def test_an_outage_lasts_until_it_is_ended_and_does_nothing_meanwhile(
    gateway: "GatewayProcess", key: str
) -> None:
    gateway.authorize(key=f"{key}:before", reference=key)
    with gateway.faults(outage_rate=1):
        answers = [gateway.authorize(key=key, reference=key) for _ in range(5)]
        repeated = gateway.authorize(key=f"{key}:before", reference=key)

    assert {(answer.status, answer.headers["Retry-After"]) for answer in answers} == {(503, "1")}
    assert repeated.status == 503, "what was done before is not answered either"
    assert len(gateway.entries(key)) == 1
    assert gateway.authorize(key=key, reference=key).status == 200


def test_an_answer_lost_by_rate_is_there_when_repeated(
    start_gateway: Callable[..., "GatewayProcess"], key: str
) -> None:
    gateway = start_gateway(GATEWAY_TIMEOUT_RATE="1", GATEWAY_HANG_SECONDS="0")

    with pytest.raises(urllib3.exceptions.ProtocolError):
        gateway.authorize(key=key)

    assert gateway.get("/v1/faults").json()["timeout_rate"] == 1
    assert gateway.authorize(key=key).status == 200


def test_a_look_up_meets_the_faults_of_a_call_of_its_own(
    start_gateway: Callable[..., "GatewayProcess"], key: str
) -> None:
    gateway = start_gateway(GATEWAY_HANG_SECONDS="0")
    address = f"/v1/operations/{key}"
    authorization = gateway.authorized(key=key)

    with gateway.faults(outage_rate=1):
        assert [gateway.get(address).status for _ in range(3)] == [503] * 3
    with gateway.faults(timeout_rate=1, latency_ms=120):
        begun = time.monotonic()
        with pytest.raises(urllib3.exceptions.ProtocolError):
            gateway.get(address)
        assert time.monotonic() - begun >= 0.12
        assert gateway.get(address).json()["response"]["id"] == authorization, "the second answer comes"
    with gateway.faults(error_rate=1):
        statuses = [gateway.get(address).status for _ in range(4)]

    assert statuses in ([503, 200, 200, 200], [503, 503, 200, 200])
    assert "Traceback" not in gateway.log.read_text()


def test_a_card_that_loses_answers_does_not_keep_its_operation_from_being_looked_up(
    start_gateway: Callable[..., "GatewayProcess"], key: str
) -> None:
    gateway = start_gateway(GATEWAY_HANG_SECONDS="0")
    with pytest.raises(urllib3.exceptions.ProtocolError):
        gateway.authorize("tok_executes_then_times_out", key=key)

    assert gateway.get(f"/v1/operations/{key}").json()["response"]["status"] == "authorized"


def test_what_failed_without_being_carried_out_is_not_found(gateway: "GatewayProcess", key: str) -> None:
    with gateway.faults(outage_rate=1):
        assert gateway.authorize(key=key).status == 503

    found = gateway.get(f"/v1/operations/{key}")

    assert (found.status, found.json()["error"]["code"]) == (404, "unknown_key")


def test_latency_delays_every_operation(gateway: "GatewayProcess") -> None:
    with gateway.faults(latency_ms=120):
        begun = time.monotonic()
        gateway.authorized()
        taken = time.monotonic() - begun

    assert taken >= 0.12
    assert gateway.get("/v1/faults").json()["latency_ms"] == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"error_rate": 1.1}', "error_rate"),
        (b'{"error_rate": NaN}', "error_rate"),
        (b'{"decline_rate": "0"}', "decline_rate"),
        (b'{"timeout_rate": true}', "timeout_rate"),
        (b'{"latency_ms": -1}', "latency_ms"),
        (b'{"earthquakes": 1}', "earthquakes"),
    ],
)
def test_a_wrong_fault_is_named_and_changes_nothing(
    gateway: "GatewayProcess", body: bytes, field: str
) -> None:
    before = gateway.get("/v1/faults").json()

    response = gateway.request("PUT", "/v1/faults", body=body)

    assert (response.status, response.json()["error"]["field"]) == (400, field)
    assert gateway.get("/v1/faults").json() == before
