"""What the tallies say is what a count would say: at every moment, whoever writes, folds and reads."""

import random
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest

from deadletters import services, tallies
from deadletters.collecting.storing import fill_in
from deadletters.filtering import LetterFilter
from deadletters.models import DeadLetter, LetterGroup, LetterTally, Replay
from deadletters.pruning import prune_closed
from messaging.envelope import utc_now
from tests.at_once import at_once
from tests.builders import reserve_stock
from tests.integration.deadletters.true_counts import (
    Recorded,
    a_death,
    differences,
    differences_by_hour,
    stored,
)

pytestmark = pytest.mark.usefixtures("committed")
SERVICES = ("inventory", "billing", "shipping")
EXCEPTIONS = ("ValueError: no", "KeyError: 'sku'", None)


def some_deaths(choice: random.Random, count: int):
    """Letters of several services that died in the last three days."""
    now = utc_now()
    return [
        msgspec.structs.replace(
            a_death(service=choice.choice(SERVICES)), died_at=now - timedelta(hours=choice.randrange(72))
        )
        for _ in range(count)
    ]


class Desk:
    """Whatever may happen to letters, to some of those that are there."""

    def __init__(self, seed: int) -> None:
        self._choice = random.Random(seed)
        self._mine: list[DeadLetter] = []

    def store(self) -> None:
        deaths = some_deaths(self._choice, self._choice.randrange(1, 8))
        stored(*deaths, exception=self._choice.choice(EXCEPTIONS))
        self._mine += [letter.id for letter in deaths]

    def store_twice(self) -> None:
        deaths = some_deaths(self._choice, 3)
        stored(*deaths, exception="ValueError: no")
        stored(*deaths, *some_deaths(self._choice, 1), exception="ValueError: no")
        self._mine += [letter.id for letter in deaths]

    def fill_in(self) -> None:
        fill_in(failures=Recorded(self._choice.choice(EXCEPTIONS[:2])), limit=5)

    def replay(self) -> None:
        services.replay(self._some(), by="ada", reason="", at=utc_now())

    def discard(self) -> None:
        services.discard(self._some(), by="ada", reason="a test", at=utc_now())

    def restore(self) -> None:
        services.restore(self._some(), by="ada", reason="", at=utc_now())

    def resolve(self) -> None:
        for replay in self._open_replays():
            services.resolve(replay.id, at=utc_now())

    def come_back(self) -> None:
        for replay in self._open_replays():
            back = msgspec.structs.replace(a_death(service=replay.letter.service), replay_id=replay.id)
            self._mine += stored(back, exception=self._choice.choice(EXCEPTIONS))

    def prune(self) -> None:
        closed = DeadLetter.objects.filter(id__in=self._some(), closed_at__isnull=False)
        closed.update(closed_at=utc_now() - timedelta(days=4_000))
        for _ in prune_closed(days=3_900, size=2):
            pass

    def fold(self) -> None:
        tallies.fold(now=utc_now() + timedelta(hours=self._choice.randrange(3)))

    def anything(self) -> str:
        name = self._choice.choice(
            [
                "store",
                "store_twice",
                "fill_in",
                "replay",
                "discard",
                "restore",
                "resolve",
                "come_back",
                "prune",
                "fold",
            ]
        )
        getattr(self, name)()
        return name

    def _some(self):
        return self._choice.sample(self._mine, k=min(len(self._mine), 5))

    def _open_replays(self):
        return Replay.objects.filter(letter_id__in=self._mine, outcome="open").select_related("letter")[:3]


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_to_letters_the_tallies_are_a_count(seed):
    desk, done = Desk(seed), []
    desk.store()

    for _ in range(60):
        done.append(desk.anything())
        assert differences() == [], done


def test_every_way_of_a_letter_is_tallied():
    """Each for certain, by itself, which the many above may miss."""
    now, exception = utc_now(), f"Way{uuid4().hex}: no"
    sent, pruned, lost = stored(a_death(), a_death(), a_death(), exception=exception)
    group = DeadLetter.objects.get(id=sent).group_id

    def by_state() -> dict[str, int]:
        assert differences() == []
        return tallies.of_groups([group], now=now)[group].by_state

    assert by_state() == {"open": 3}
    services.replay([sent], by="ada", reason="", at=now)
    assert by_state() == {"open": 2, "replaying": 1}
    back = msgspec.structs.replace(a_death(), replay_id=Replay.objects.get(letter_id=sent).id)
    stored(back, exception=exception)
    assert by_state() == {"open": 3, "superseded": 1}
    services.replay([back.id], by="ada", reason="", at=now)
    services.resolve(Replay.objects.get(letter_id=back.id).id, at=now)
    assert by_state() == {"open": 2, "resolved": 1, "superseded": 1}
    services.discard([pruned, lost], by="ada", reason="a test", at=now)
    services.restore([lost], by="ada", reason="", at=now)
    assert by_state() == {"open": 1, "resolved": 1, "discarded": 1, "superseded": 1}
    DeadLetter.objects.filter(id=pruned).update(closed_at=now - timedelta(days=4_000))
    assert sum(prune_closed(days=3_900, size=10)) == 1
    assert by_state() == {"open": 1, "resolved": 1, "superseded": 1}


def test_a_letter_that_gets_another_group_is_tallied_there():
    (letter_id,) = stored(a_death(), exception=None)
    before = DeadLetter.objects.get(id=letter_id).group_id

    while not DeadLetter.objects.get(id=letter_id).is_failure_known:
        fill_in(failures=Recorded(f"Unheard{uuid4().hex}: no"), limit=100)

    after = DeadLetter.objects.get(id=letter_id).group_id
    assert after != before
    assert tallies.of_groups([after], now=utc_now())[after].by_state["open"] >= 1
    assert differences() == []


def test_sums_are_true_at_every_moment_while_all_write_fold_and_read():
    begun = utc_now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=40)
    over, found, looks = threading.Event(), [], []

    def write(seed: int):
        def run() -> None:
            desk = Desk(seed)
            desk.store()
            for _ in range(60):
                desk.anything()

        return run

    def fold() -> None:
        while not over.is_set():
            tallies.fold(now=utc_now())

    def read() -> None:
        while not over.is_set():
            found.extend(differences())
            looks.append(1)

    def write_all() -> None:
        try:
            at_once(*(write(seed) for seed in range(10, 14)))
        finally:
            over.set()

    at_once(write_all, fold, fold, read)

    assert len(looks) > 5
    assert found == []
    assert differences() == []
    assert differences_by_hour(begun) == []


def test_folding_leaves_one_row_for_each_sum_and_none_for_zero():
    exception = f"Folded{uuid4().hex}: no"
    ids = [stored(a_death(), exception=exception)[0] for _ in range(5)]
    group = DeadLetter.objects.get(id=ids[0]).group_id
    services.discard(ids[:2], by="ada", reason="a test", at=utc_now())
    services.restore(ids[:2], by="ada", reason="", at=utc_now())
    rows = LetterTally.objects.filter(fingerprint=group)
    assert rows.count() > 5

    fewer = tallies.fold(now=utc_now())

    assert fewer > 0
    assert [(row.state, row.letters) for row in rows] == [("open", 5)]
    assert tallies.fold(now=utc_now()) == 0, "there is nothing left to fold"


def test_hours_long_ago_become_one_and_lose_no_letter():
    now = utc_now()
    exception = f"Old{uuid4().hex}: no"
    deaths = [
        msgspec.structs.replace(a_death(), died_at=now - timedelta(hours=hours))
        for hours in (0, 1, 47, 48, 60, 1_000)
    ]
    stored(*deaths, exception=exception)
    group = DeadLetter.objects.get(id=deaths[0].id).group_id

    tallies.fold(now=now)

    rows = LetterTally.objects.filter(fingerprint=group)
    assert {row.hour for row in rows if row.letters > 1} == {tallies.LONG_AGO}
    assert Counter({row.hour: row.letters for row in rows})[tallies.LONG_AGO] == 3
    services.discard([deaths[-1].id], by="ada", reason="a test", at=now)
    figures = tallies.of_groups([group], now=now)[group]
    assert figures.by_state == {"open": 5, "discarded": 1}
    assert (figures.by_hour[-2:], sum(figures.by_hour)) == ([1, 1], 2)


def test_the_figures_of_groups(django_assert_num_queries):
    now = datetime.now(UTC)
    one, other = (f"{name}{uuid4().hex}: no" for name in ("One", "Other"))
    order_id = uuid4()
    ids = stored(*(a_death(message=reserve_stock(order_id)) for _ in range(2)), a_death(), exception=one)
    stored(a_death(service="billing"), exception=one)
    stored(a_death(service="shipping"), exception=other)
    services.discard(ids[2:], by="ada", reason="a test", at=now)
    groups = [
        LetterGroup.objects.get(exception_class=exception.split(":")[0], frame=f"queue {service}").fingerprint
        for exception, service in ((one, "inventory"), (one, "billing"), (other, "shipping"))
    ]

    with django_assert_num_queries(2, using="default"):
        figures = tallies.of_groups([*groups, "nobody"], now=now)

    first = figures[groups[0]]
    assert (first.by_state, first.services) == ({"open": 2, "discarded": 1}, ["inventory"])
    assert (len(first.by_hour), first.by_hour[-1] + first.by_hour[-2]) == (24, 3)
    assert first.orders == 1, "two open letters of one order; the third letter is not open"
    assert figures[groups[1]].services == ["billing"]
    assert figures["nobody"] == tallies.GroupFigures(by_state={}, services=[], by_hour=[0] * 24, orders=0)


def test_orders_behind_a_group_are_counted_as_far_as_promised(monkeypatch):
    monkeypatch.setattr(tallies, "MOST_ORDERS", 3)
    exception = f"Many{uuid4().hex}: no"
    (letter_id, *_) = stored(*(a_death() for _ in range(5)), exception=exception)
    group = DeadLetter.objects.get(id=letter_id).group_id

    assert tallies.of_groups([group], now=utc_now())[group].orders == 3


def test_deaths_by_hour_are_those_of_all_groups():
    now = utc_now()
    before = tallies.deaths_by_hour(now=now)
    late = msgspec.structs.replace(a_death(), died_at=now - timedelta(hours=2))
    (letter_id,) = stored(late)
    services.discard([letter_id], by="ada", reason="a test", at=now)

    after = tallies.deaths_by_hour(now=now)

    assert [one - other for one, other in zip(after, before, strict=True)] == [0] * 21 + [1, 0, 0]
    assert tallies.deaths_by_hour(now=now, hours=2) == after[-2:]


def test_what_the_tallies_know_is_counted_exactly_and_the_rest_as_far_as_asked():
    exception = f"Counted{uuid4().hex}: no"
    ids = stored(*(a_death() for _ in range(4)), exception=exception)
    letter = DeadLetter.objects.get(id=ids[0])
    services.discard(ids[:1], by="ada", reason="a test", at=utc_now())
    known = (
        LetterFilter(),
        LetterFilter(state="open"),
        LetterFilter(service="inventory"),
        LetterFilter(type=letter.type),
        LetterFilter(fingerprint=letter.group_id),
        LetterFilter(state="open", service="inventory", type=letter.type, fingerprint=letter.group_id),
        LetterFilter(type="nobody.knows.v1"),
    )

    for chosen in known:
        assert tallies.count(chosen, most=1) == tallies.Counted(
            number=chosen.apply(DeadLetter.objects).count(), is_exact=True
        )
    words = LetterFilter(text=exception.split(":")[0])
    assert tallies.count(words) == tallies.Counted(number=4, is_exact=True)
    assert tallies.count(words, most=4) == tallies.Counted(number=4, is_exact=True)
    assert tallies.count(words, most=3) == tallies.Counted(number=3, is_exact=False)
