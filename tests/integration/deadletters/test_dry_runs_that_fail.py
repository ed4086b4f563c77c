"""A dry run says how a letter would fail: as it did, otherwise, or before any handler sees it."""

from typing import Any, NoReturn
from uuid import uuid4

import msgspec
import pytest

from contracts.billing import AuthorizePayment
from contracts.inventory import ReserveStock
from contracts.message import Event, Message
from deadletters.models import DeadLetter
from deadletters.rehearsals.dry_runs import dry_run
from messaging.consumer import consume
from messaging.envelope import utc_now
from messaging.errors import PermanentError
from messaging.handling import Handler, handlers_of
from messaging.settlement import Rejected
from tests.builders import a_delivery, an_envelope, authorize_payment, capture_payment, reserve_stock
from tests.integration.deadletters.rehearsed import a_letter, nothing_happens

pytestmark = pytest.mark.usefixtures("committed")


def broken(monkeypatch, service: str, wire_type: str, error: Exception) -> None:
    """From now on the handler fails, after it has written."""
    declared = handlers_of(service)[wire_type]
    assert isinstance(declared, Handler)

    def fail(message) -> Event | None:
        declared.run(message)
        raise error

    monkeypatch.setitem(handlers_of(service), wire_type, msgspec.structs.replace(declared, run=fail))


def died(service: str, message: Message, **more: Any) -> DeadLetter:
    """The letter of a message that its consumer could not handle, with the failure that it has recorded."""
    envelope = an_envelope(message, occurred_at=utc_now(), **more)
    with pytest.raises(Rejected):
        consume(service, a_delivery(message, envelope))
    return a_letter(service, message, envelope=envelope)


def a_shelf_that_is_gone(monkeypatch) -> DeadLetter:
    broken(monkeypatch, "inventory", ReserveStock.wire_type, PermanentError("the shelf is gone"))
    return died("inventory", reserve_stock(uuid4()))


def a_payment_that_nobody_knows(monkeypatch) -> DeadLetter:
    return died("billing", capture_payment(uuid4()), attempt=20)


def an_answer_that_cannot_be_stored(monkeypatch) -> DeadLetter:
    declared = handlers_of("billing")[AuthorizePayment.wire_type]

    def fail(command, outcome) -> NoReturn:
        raise PermanentError("the ledger is full")

    monkeypatch.setitem(
        handlers_of("billing"), AuthorizePayment.wire_type, msgspec.structs.replace(declared, conclude=fail)
    )
    return died("billing", authorize_payment(uuid4()))


def a_type_that_the_service_does_not_handle(monkeypatch) -> DeadLetter:
    return died("inventory", authorize_payment(uuid4()))


@pytest.mark.parametrize(
    ("dies", "said"),
    [
        (a_shelf_that_is_gone, "PermanentError: the shelf is gone."),
        (a_payment_that_nobody_knows, "PaymentNotInState: The payment of order "),
        (an_answer_that_cannot_be_stored, "PermanentError: the ledger is full."),
        (a_type_that_the_service_does_not_handle, "InvalidMessage: This service has no handler for"),
    ],
)
def test_what_would_fail_as_it_did_is_said_to_fail_in_the_same_way(gateway, monkeypatch, dies, said):
    letter = dies(monkeypatch)
    assert letter.exception

    with nothing_happens(monkeypatch):
        run = dry_run(letter.id)

    assert (run.would_succeed, run.is_same_failure, run.exception) == (False, True, letter.exception)
    assert run.verdict.startswith(f"It would fail again in the same way: {said}")
    assert "Traceback" in run.traceback
    assert (run.writes, run.told) == ([], [])


def test_what_would_fail_otherwise_is_said_to_and_what_is_mended_succeeds(monkeypatch):
    with monkeypatch.context() as still:
        letter = a_shelf_that_is_gone(still)
    mended = dry_run(letter.id)
    broken(monkeypatch, "inventory", letter.type, ZeroDivisionError("no shelves"))
    otherwise = dry_run(letter.id)

    assert mended.would_succeed
    assert (otherwise.would_succeed, otherwise.is_same_failure) == (False, False)
    assert otherwise.verdict == "It would fail in another way than before: ZeroDivisionError: no shelves."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "inventory.reserve_stock.v9"}, "contracts/ has no message type"),
        ({"type": "billing.capture_payment.v1"}, "This service has no handler for"),
    ],
)
def test_a_message_that_the_service_does_not_understand_fails_in_the_consumers_words(change, said):
    command = reserve_stock(uuid4())
    headers = an_envelope(command).to_headers() | change

    run = dry_run(a_letter("inventory", command, headers=headers).id)

    assert not run.would_succeed
    assert run.exception.startswith(f"InvalidMessage: {said}")


def test_a_body_that_breaks_the_contract_fails_in_the_consumers_words():
    command = reserve_stock(uuid4())
    run = dry_run(a_letter("inventory", command, body=b'[[{"order_id": 5}], {}, {}]').id)

    assert run.exception.startswith("InvalidMessage: The body is not a inventory.reserve_stock.v1")


def test_what_is_no_message_of_ours_is_said_to_be():
    run = dry_run(a_letter("inventory", body=b"\xff\x00").id)

    assert (run.would_succeed, run.is_tried) == (False, False)
    assert run.verdict.startswith("It cannot be sent again.")


def test_a_letter_of_a_service_that_is_gone_says_so():
    command = reserve_stock(uuid4())
    letter = a_letter("inventory", command)
    DeadLetter.objects.filter(id=letter.id).update(service="warehouse")

    assert dry_run(letter.id).verdict == "It cannot be handled: this release has no service 'warehouse'."
