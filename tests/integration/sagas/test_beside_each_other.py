"""Steps beside each other, questions and what people do, in the database: of what comes at once all counts."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connections
from django.utils import timezone

from contracts.message import Event
from contracts.sagas import CheckDeadlines
from deadletters.desk import Operator
from deadletters.models import DeskEntry
from messaging.models import OutboxMessage
from sagas import batch, registry, steering
from sagas.batch import Incoming, handle_batch
from sagas.definition import Saga
from sagas.errors import NotBegunYet
from sagas.incoming import PauseSaga, RetryStep, SkipStep
from sagas.models import MessageRecord, SagaRecord, StepRecord
from sagas.registry import saga_id
from tests.at_once import at_once
from tests.builders import an_envelope
from tests.simulation.tables import ASKING, BEGUN, WAITING, WIDE, event

pytestmark = pytest.mark.usefixtures("committed")

PATIENCE = 20
"""Seconds until what is waited for does not come any more."""
ANNA = Operator(name="anna", may=lambda permission: True)


class PowerCut(Exception):
    """The process ends here."""


class Running:
    """One saga of the tests' own, in the database."""

    def __init__(self, definition: Saga) -> None:
        self.definition = definition
        self.order = str(uuid4())
        self.id: UUID = saga_id(definition.name, self.order)
        begun = BEGUN.from_payload({"order": self.order})
        handle_batch([Incoming(an_envelope(begun), begun)])

    def reply(self, step: str, kind: type[Event]) -> Incoming:
        said = kind.from_payload({"order": self.order})
        return Incoming(an_envelope(said, saga_id=self.id, step=step, step_try=1), said)

    def from_outside(self, kind: type[Event]) -> Incoming:
        said = kind.from_payload({"order": self.order})
        return Incoming(an_envelope(said), said)

    def look(self) -> Incoming:
        """Its deadlines are over, and somebody looks."""
        StepRecord.objects.filter(saga_id=self.id, deadline_at__isnull=False).update(
            deadline_at=timezone.now()
        )
        check = CheckDeadlines(saga_id=self.id)
        return Incoming(an_envelope(check), check)

    def act(self, action: Any) -> steering.Steered:
        return steering.steer(action, [self.id], operator=ANNA, at=timezone.now(), reason="to see")

    def steps(self) -> dict[str, str]:
        return dict(StepRecord.objects.filter(saga_id=self.id).values_list("name", "status"))

    def sent(self) -> list[str]:
        sent = MessageRecord.objects.filter(saga_id=self.id, direction="sent").order_by("id")
        return [wire_type.split(".")[1] for wire_type in sent.values_list("type", flat=True)]

    def outbox(self) -> list[str]:
        """The keys of the commands that wait to be sent, in their order."""
        rows = OutboxMessage.objects.filter(headers__saga_id=str(self.id)).order_by("id")
        return [row.headers["idempotency_key"].removeprefix(f"{self.id}:") for row in rows]


@pytest.fixture
def run(committed: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Saga], Running]]:
    """Sagas that no release has; nothing of them stays."""
    names: set[str] = set()

    def start(definition: Saga) -> Running:
        monkeypatch.setitem(registry.DEFINITIONS, (definition.name, definition.version), definition)
        monkeypatch.setattr(registry, "_NEWEST", (definition,))
        names.add(definition.name)
        return Running(definition)

    yield start
    ids = list(SagaRecord.objects.filter(name__in=names).values_list("id", flat=True))
    OutboxMessage.objects.filter(headers__saga_id__in=[str(known) for known in ids]).delete()
    OutboxMessage.objects.filter(known_key__in=[f"saga:{known}:deadline" for known in ids]).delete()
    SagaRecord.objects.filter(id__in=ids).delete()


def somebody_waits_for_a_lock() -> bool:
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return bool(cursor.fetchone()[0])


@pytest.fixture
def meet(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Two transactions: the first has decided, and stays open until the second waits for what it has locked."""
    has_decided = threading.Event()

    def wait_for_the_other(point: str) -> None:
        if point != "orchestrator.decided" or has_decided.is_set():
            return
        has_decided.set()
        until = time.monotonic() + PATIENCE
        while not somebody_waits_for_a_lock():
            assert time.monotonic() < until, "nobody else has come"
            time.sleep(0.01)

    def meet_(first: Callable[[], Any], second: Callable[[], Any]) -> None:
        def come_later() -> None:
            assert has_decided.wait(timeout=PATIENCE)
            second()

        with monkeypatch.context() as patch:
            patch.setattr(batch, "failpoint", wait_for_the_other)
            at_once(first, come_later)

    return meet_


@contextmanager
def a_power_cut(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The orchestrator's transaction ends after its last write and before its commit."""

    def cut(point: str) -> None:
        if point == "orchestrator.decided":
            raise PowerCut

    with monkeypatch.context() as patch, pytest.raises(PowerCut):
        patch.setattr(batch, "failpoint", cut)
        yield


def test_the_replies_of_two_branches_in_one_batch_both_count(run):
    wide = run(WIDE)
    handle_batch([wide.reply("a", event("ADone"))])

    handle_batch([wide.reply("b", event("BDone")), wide.reply("c", event("CDone"))])

    assert wide.sent() == ["doa", "dob", "doc", "dod"]


def test_the_replies_of_two_branches_in_two_transactions_at_once_both_count(run, meet):
    wide = run(WIDE)

    meet(
        lambda: handle_batch([wide.reply("a", event("ADone"))]),
        lambda: handle_batch([wide.reply("b", event("BDone"))]),
    )

    steps = wide.steps()
    assert (steps["a"], steps["b"], steps["c"]) == ("done", "done", "sent")
    assert wide.sent() == ["doa", "dob", "doc"]


def test_the_last_replies_of_many_sagas_at_once_let_each_go_on_once(run):
    """Two orchestrators with the same sagas, one branch each, in opposite orders."""
    many = [run(WIDE) for _ in range(20)]
    handle_batch([wide.reply("a", event("ADone")) for wide in many])
    left = [wide.reply("b", event("BDone")) for wide in many]
    right = [wide.reply("c", event("CDone")) for wide in reversed(many)]

    at_once(lambda: handle_batch(left), lambda: handle_batch(right))

    assert {tuple(wide.sent()) for wide in many} == {("doa", "dob", "doc", "dod")}


def test_two_branches_that_are_undone_at_once_end_the_saga_once(run, meet):
    wide = run(WIDE)
    handle_batch([wide.reply("a", event("ADone")), wide.reply("b", event("BDone"))])
    handle_batch([wide.reply("c", event("CRefused"))])
    assert wide.sent()[-2:] == ["undob", "undoa"]

    meet(
        lambda: handle_batch([wide.reply("a", event("AUndone"))]),
        lambda: handle_batch([wide.reply("b", event("BUndone"))]),
    )

    assert wide.sent()[-3:] == ["undob", "undoa", "undostart"]
    handle_batch([wide.reply("start", event("StartUndone"))])
    assert SagaRecord.objects.get(id=wide.id).status == "cancelled"


def test_a_reply_that_comes_while_a_person_acts_waits_for_him_and_counts(run, meet):
    wide = run(WIDE)

    meet(
        lambda: handle_batch([wide.reply("a", event("ADone"))]),
        lambda: wide.act(PauseSaga()),
    )

    record = SagaRecord.objects.get(id=wide.id)
    assert (record.paused_at is not None, wide.steps()["a"]) == (True, "done")
    assert DeskEntry.objects.filter(saga_id=wide.id, action="pause", outcome="done").count() == 1
    assert wide.sent().count("doc") == (wide.steps()["c"] == "sent")


def test_an_event_from_outside_that_comes_before_the_start_is_repeated_until_it_has_begun(run):
    elsewhere = run(WAITING)
    word = event("WordGiven").from_payload({"order": str(uuid4())})
    early = Incoming(an_envelope(word), word)

    with pytest.raises(NotBegunYet, match=rf"for the saga waiting {word.order}, which has not begun yet"):
        handle_batch([elsewhere.from_outside(event("WordGiven")), early])

    assert elsewhere.steps()["word"] == "pending", "nothing of the batch has happened"
    begun = BEGUN.from_payload({"order": word.order})
    handle_batch([early, Incoming(an_envelope(begun), begun)])
    assert StepRecord.objects.get(saga_id=saga_id("waiting", word.order), name="word").status == "done"


def test_an_event_from_outside_is_asked_anew_where_its_saga_ends_at_that_moment(run, meet):
    waiting = run(WAITING)
    handle_batch([waiting.reply("a", event("ADone"))])
    handle_batch([waiting.from_outside(event("WordDenied"))])
    signed = waiting.from_outside(event("Signed"))

    def hear() -> None:
        with pytest.raises(NotBegunYet, match="has ended just now"):
            handle_batch([signed])

    meet(lambda: handle_batch([waiting.reply("a", event("AUndone"))]), hear)

    assert SagaRecord.objects.get(id=waiting.id).status == "cancelled"
    ended = waiting.steps()
    handle_batch([signed])
    assert waiting.steps() == ended, "no saga waits for it, and it is no news"


def test_cut_off_before_its_commit_a_batch_for_two_branches_has_done_nothing_and_is_done_again(
    run, monkeypatch
):
    wide = run(WIDE)
    handle_batch([wide.reply("a", event("ADone"))])
    replies = [wide.reply("b", event("BDone")), wide.reply("c", event("CDone"))]
    before = (wide.steps(), wide.sent(), wide.outbox())

    with a_power_cut(monkeypatch):
        handle_batch(replies)

    assert (wide.steps(), wide.sent(), wide.outbox()) == before
    handle_batch(replies)
    assert wide.outbox() == ["a:1:action", "b:1:action", "c:1:action", "d:1:action"]


def test_cut_off_before_its_commit_a_question_was_never_asked_and_is_asked_once(run, monkeypatch):
    asking = run(ASKING)
    look = asking.look()

    with a_power_cut(monkeypatch):
        handle_batch([look])
    assert asking.outbox() == ["a:1:action"]

    handle_batch([look])
    handle_batch([look])
    assert (asking.outbox(), asking.steps()["a"]) == (["a:1:action", "a:1:question:1"], "asking")

    handle_batch([asking.reply("a", event("ANotFound"))])
    assert asking.outbox() == ["a:1:action", "a:1:question:1", "a:1:action"]


@pytest.mark.parametrize("action", [RetryStep("a"), SkipStep("a"), PauseSaga()])
def test_cut_off_before_its_commit_what_a_person_did_has_left_no_trace_and_is_done_again(
    run, monkeypatch, action
):
    wide = run(WIDE)
    before = (wide.steps(), wide.sent(), wide.outbox())

    def fail(*_: Any) -> None:
        raise PowerCut

    with monkeypatch.context() as cut:
        cut.setattr(steering, "keep_deadlines", fail)
        with pytest.raises(PowerCut):
            wide.act(action)

    assert (wide.steps(), wide.sent(), wide.outbox()) == before
    assert not DeskEntry.objects.filter(saga_id=wide.id).exists()
    assert list(wide.act(action).done) == [wide.id]
    assert DeskEntry.objects.filter(saga_id=wide.id, outcome="done").count() == 1
