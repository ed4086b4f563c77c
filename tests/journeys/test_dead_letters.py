"""A message that cannot be handled, its dead letter, and how it is handled after all, through real processes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

from django.conf import settings
from kombu import Connection

from billing.models import Payment
from contracts.billing import AuthorizePayment, CapturePayment
from contracts.message import Command
from deadletters.models import DeadLetter, Replay
from messaging import outbox, topology
from messaging.unit_of_work import unit_of_work
from tests.builders import authorize_payment, capture_payment
from tests.running_shop import RunningShop, wait_until


def send(command: Command, *, order_id: UUID) -> UUID:
    with unit_of_work("orders", correlation_id=str(order_id)):
        return outbox.send(command).message_id


def letter_of(message_id: UUID, **more: object) -> DeadLetter:
    letters = DeadLetter.objects.filter(message_id=message_id, **more).order_by("-collected_at")
    return wait_until(letters.first, what=f"a letter of message {message_id}")


def depth(queue: str) -> int:
    with Connection(settings.BROKER_URL) as connection:
        return topology.depths(connection)[queue][0]


@contextmanager
def an_order_of_nobody() -> Iterator[UUID]:
    """An order that billing alone knows of: its payment is taken out of the books that the audit reads."""
    order_id = uuid4()
    yield order_id
    Payment.objects.filter(order_id=order_id).delete()


def test_a_letter_that_is_replayed_after_the_cause_was_mended_closes_by_itself(shop: RunningShop) -> None:
    with an_order_of_nobody() as order_id:
        captured = send(capture_payment(order_id), order_id=order_id)

        letter = letter_of(captured)
        assert (letter.service, letter.state) == ("billing", "open")
        assert letter.type == CapturePayment.wire_type
        assert letter.exception.startswith("PaymentNotInState")
        assert letter.group.frame.startswith("billing/")

        again = shop.manage("dead_letters", "replay", str(letter.id), "--by", "ada", "--reason", "too early?")
        assert again.returncode == 0, again.stderr
        second = letter_of(captured, follows=letter)
        assert DeadLetter.objects.get(id=letter.id).state == "superseded"
        assert Replay.objects.get(letter=letter).outcome == "failed"

        send(authorize_payment(order_id), order_id=order_id)
        wait_until(
            lambda: Payment.objects.filter(order_id=order_id, state="authorized").exists(),
            what=f"{AuthorizePayment.wire_type} to be handled",
        )
        shop.manage("dead_letters", "replay", str(second.id), "--by", "ada", "--reason", "authorized now")
        wait_until(
            lambda: DeadLetter.objects.get(id=second.id).state == "resolved",
            what="the letter to close by itself",
        )

        assert Payment.objects.get(order_id=order_id).state == "captured"
        told = json.loads(shop.manage("dead_letters", "show", str(second.id), "--json").stdout)
        assert [replay["outcome"] for replay in told["replays"]] == ["succeeded"]
        assert told["follows"] == str(letter.id)


def test_letters_of_a_killed_collector_are_stored_once(shop: RunningShop) -> None:
    shop.processes.stop("collector")
    with an_order_of_nobody() as order_id:
        died = [send(capture_payment(order_id), order_id=order_id) for _ in range(40)]
        shop.processes.start("collector")
        wait_until(
            lambda: DeadLetter.objects.filter(message_id__in=died).exists(),
            what="the first letters to be stored",
        )

        killed = shop.processes.kill("collector")
        shop.processes.wait_for_new("collector", after=killed)

        letters = DeadLetter.objects.filter(message_id__in=died)
        wait_until(lambda: letters.count() >= len(died), what="every letter to be stored")
        wait_until(lambda: depth("billing.dead") == 0, what="the dead letters to be acknowledged")
        assert letters.count() == len(died)
        discarded = shop.manage(
            *("dead_letters", "discard", "--reason", "a test", *(str(letter.id) for letter in letters))
        )
        assert discarded.returncode == 0, discarded.stderr
