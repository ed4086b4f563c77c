"""Whoever follows docs/howto/write-a-saga.md has a saga that runs, turns round, waits, and changes its version.

The saga is that of the page: its table, its messages and its handlers are taken from there.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest
from django.utils import timezone

from messaging.models import OutboxMessage
from sagas.models import MessageRecord, SagaRecord, StepRecord
from tests.databases import Databases
from tests.following_the_howto import Reader, ReadersShop, blocks
from tests.running_shop import used_by_a_test, wait_until


@pytest.fixture(scope="module")
def shop(
    databases: Databases,
    django_db_setup: None,
    django_db_blocker,
    suite_broker_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ReadersShop]:
    """The reader's shop, as it is after section 3."""
    folder = tmp_path_factory.mktemp("howto")
    reader = Reader(folder)
    with django_db_blocker.unblock():
        shop = ReadersShop(reader=reader, databases=databases, folder=folder, broker_url=suite_broker_url)
        with used_by_a_test(shop):
            try:
                for block in blocks():
                    if block.section in ("1", "2", "3"):
                        shop.follow(block)
                shop.start()
                yield shop
            finally:
                shop.stop()


def scripts(section: str) -> list[str]:
    return [block.text for block in blocks() if (block.section, block.language) == (section, "sh")]


class Gift:
    """One gift, as a test moves it and asks after it."""

    def __init__(self, shop: ReadersShop, *, paper: str = "stars") -> None:
        self.shop = shop
        self.id = UUID(self._say(f"print(gifts.order_gift(paper={paper!r}, greeting='Well done'))").strip())

    def _say(self, line: str) -> str:
        imports = "from uuid import UUID\nfrom contracts.values import Address\nfrom orders import gifts\n"
        return self.shop.run(f'.venv/bin/python manage.py shell --no-imports -c "{imports}{line}"')

    def give_address(self) -> None:
        home = "Address(name='Ada', line1='St James 12', city='London', postcode='SW1Y 4JH', country='GB')"
        self._say(f"gifts.give_address(UUID('{self.id}'), {home})")

    def decline(self) -> None:
        self._say(f"gifts.decline(UUID('{self.id}'))")

    @property
    def saga(self) -> SagaRecord:
        return SagaRecord.objects.get(name="gift", business_key=str(self.id))

    def let_its_time_be_over(self) -> None:
        """The deadline that is next has passed a moment ago."""
        past, saga = timezone.now() - timedelta(seconds=1), self.saga
        StepRecord.objects.filter(saga=saga, deadline_at__isnull=False).update(deadline_at=past)
        OutboxMessage.objects.filter(known_key=f"saga:{saga.id}:deadline").update(available_at=past)

    def wait_until_it_is_at(self, step: str) -> None:
        found = SagaRecord.objects.filter(name="gift", business_key=str(self.id), current=step)
        wait_until(found.exists, what=f"gift {self.id} to be at {step} (see {self.shop.log_file})")

    def wait_until_it_is(self, status: str) -> None:
        found = SagaRecord.objects.filter(name="gift", business_key=str(self.id), status=status)
        wait_until(found.exists, what=f"gift {self.id} to be {status} (see {self.shop.log_file})")

    @property
    def steps(self) -> dict[str, str]:
        return dict(StepRecord.objects.filter(saga=self.saga).values_list("name", "status"))

    @property
    def sent(self) -> list[str]:
        """The names of its commands, in the order in which they were sent."""
        records = MessageRecord.objects.filter(saga=self.saga, direction="sent").order_by("id")
        return [wire_type.split(".")[1] for wire_type in records.values_list("type", flat=True)]

    def sent_together(self, *names: str) -> bool:
        """Whether the saga has sent these commands on one and the same news."""
        records = MessageRecord.objects.filter(saga=self.saga, direction="sent")
        times = {record.noted_at for record in records if record.type.split(".")[1] in names}
        return len(times) == 1


def test_the_saga_runs_as_the_page_says(shop: ReadersShop) -> None:
    accepted, given, refused = scripts("4")

    # One terminal: what the first lines have set is known to the next. It is asked once the saga waits.
    first = shop.run(f"{accepted}\necho GIFT=$GIFT")
    gift_id = re.search(r"GIFT=(\S+)", first)[1]
    found = SagaRecord.objects.filter(business_key=gift_id)
    wait_until(lambda: found.filter(current="address").exists(), what="the saga to wait for the address")
    shown = shop.run(f"GIFT={gift_id}\n{given}")
    wait_until(lambda: found.filter(status="completed").exists(), what="the saga to end")
    shown = shop.run(f".venv/bin/python manage.py sagas show {gift_id}")
    assert "completed" in shown
    assert "London" not in shown
    second = shop.run(f"{refused}\necho GIFT=$GIFT")
    refused_id = re.search(r"GIFT=(\S+)", second)[1]
    ended = SagaRecord.objects.filter(business_key=refused_id, status="cancelled", reason="out_of_paper")
    wait_until(ended.exists, what="the refused saga to end")


def test_a_gift_is_wrapped_while_its_card_is_printed_and_sent_with_both(shop: ReadersShop) -> None:
    gift = Gift(shop)
    gift.wait_until_it_is_at("address")
    assert gift.sent_together("wrap_gift", "print_card")

    gift.give_address()
    gift.wait_until_it_is("completed")

    assert gift.sent == ["wrap_gift", "print_card", "send_gift", "close_gift"]
    parcel = MessageRecord.objects.get(saga=gift.saga, type="shipping.send_gift.v1")
    assert parcel.body["contents"] == ["a box in stars", "a card of 9 letters"]
    step = StepRecord.objects.get(saga=gift.saga, name="regret")
    assert (step.finished_at - step.sent_at).total_seconds() >= 2


def test_a_gift_without_paper_is_cancelled_and_its_card_shredded(shop: ReadersShop) -> None:
    gift = Gift(shop, paper="gold")

    gift.wait_until_it_is("cancelled")

    assert gift.saga.reason == "out_of_paper"
    assert gift.sent == ["wrap_gift", "print_card", "shred_card", "cancel_gift"]
    assert gift.steps == {
        "order": "undone",
        "wrap": "refused",
        "card": "undone",
        **dict.fromkeys(("address", "regret", "send", "close"), "pending"),
    }


def test_a_gift_that_is_declined_is_unwrapped_while_its_card_is_shredded(shop: ReadersShop) -> None:
    gift = Gift(shop)
    gift.wait_until_it_is_at("address")

    gift.decline()
    gift.wait_until_it_is("cancelled")

    assert gift.saga.reason == "gift_declined"
    assert sorted(gift.sent[2:4]) == ["shred_card", "unwrap_gift"]
    assert gift.sent_together("shred_card", "unwrap_gift")
    assert gift.sent[4:] == ["cancel_gift"]


def test_an_address_that_is_given_before_its_turn_counts(shop: ReadersShop) -> None:
    shop.processes.stop("inventory-worker")
    try:
        gift = Gift(shop)
        gift.wait_until_it_is_at("wrap")
        gift.give_address()
        wait_until(lambda: gift.steps["address"] == "done", what="the address to be known")
        assert gift.steps["wrap"] == "sent"
    finally:
        shop.processes.start("inventory-worker")

    gift.wait_until_it_is("completed")

    assert gift.sent == ["wrap_gift", "print_card", "send_gift", "close_gift"]


def test_a_gift_whose_address_nobody_gives_is_undone(shop: ReadersShop) -> None:
    gift = Gift(shop)
    gift.wait_until_it_is_at("address")

    gift.let_its_time_be_over()
    gift.wait_until_it_is("cancelled")

    assert gift.saga.reason == "step_overdue"
    assert gift.steps["address"] == "overdue"
    assert gift.sent_together("shred_card", "unwrap_gift")


def test_the_pages_own_tests_pass(shop: ReadersShop) -> None:
    for block in blocks():
        if block.section == "5" and block.language == "python":
            shop.reader.write(block)
    (script,) = scripts("5")
    arguments = re.fullmatch(r'make test ARGS="(.*)"\n', script)[1]

    assert "4 passed" in shop.run(f".venv/bin/python -m pytest {arguments}")


def test_a_running_gift_finishes_on_its_version_when_the_next_is_deployed(shop: ReadersShop) -> None:
    old = Gift(shop)
    old.wait_until_it_is_at("address")
    for block in blocks():
        if block.section == "6" and block.language == "python":
            shop.reader.write(block)
    (upgrade,) = scripts("6")

    told = shop.run(upgrade)
    shop.restart()
    old.give_address()
    new = Gift(shop)
    new.wait_until_it_is_at("address")
    new.give_address()
    for gift in (old, new):
        gift.wait_until_it_is("completed")

    assert "1 added to shapes.py" in told
    assert "no differences" in told
    assert (old.saga.version, new.saga.version) == (1, 2)
    assert new.sent == old.sent
    assert (old.sent_together("wrap_gift", "print_card"), new.sent_together("wrap_gift", "print_card")) == (
        True,
        False,
    )
