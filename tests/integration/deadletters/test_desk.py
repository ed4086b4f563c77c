"""The desk's door: who may, what is done at once and what becomes a job, and that all of it is written down."""

from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import transaction

from deadletters import desk, services
from deadletters.desk import Operator
from deadletters.errors import NotPermitted, ReasonMissing, WrongFilter, WrongMove, WrongRequest
from deadletters.filtering import LetterFilter
from deadletters.models import DeadLetter, DeskEntry, LetterAction, LetterJob, Replay
from messaging.envelope import utc_now
from messaging.models import OutboxMessage
from tests.integration.deadletters.causes import ADA, Cause, wake_up

pytestmark = pytest.mark.usefixtures("committed")
Kind = LetterJob.Kind


def act(
    kind, chosen: LetterFilter, *, operator: Operator = ADA, reason: str = "mended", **more
) -> desk.Acted:
    return desk.act(kind, chosen, operator=operator, reason=reason, at=utc_now(), **more)


def somebody(*permissions: str) -> Operator:
    """A person of his own, so that his entries in the log are found."""
    return Operator(name=f"eve-{uuid4().hex[:8]}", may=lambda wanted: wanted in permissions)


def states(*letters: DeadLetter) -> list[str]:
    ids = [letter.id for letter in letters]
    return list(DeadLetter.objects.filter(id__in=ids).order_by("id").values_list("state", flat=True))


@pytest.mark.parametrize(
    ("kind", "permission", "others"),
    [
        ("replay", "replay_deadletter", "discard_deadletter"),
        ("discard", "discard_deadletter", "replay_deadletter"),
        ("restore", "discard_deadletter", "replay_deadletter"),
    ],
)
def test_who_lacks_the_permission_is_refused_and_that_stays_in_the_log(kind, permission, others):
    (letter,) = Cause().letters(1)
    eve = somebody("deadletters.view_deadletter", f"deadletters.{others}")

    with pytest.raises(NotPermitted, match=f"deadletters.{permission} is missing"):
        act(Kind(kind), LetterFilter(ids=(letter.id,)), operator=eve, reason="I want to")

    assert states(letter) == ["open"]
    entry = DeskEntry.objects.get(by=eve.name)
    assert (entry.outcome, entry.action, entry.letter_id) == ("refused", kind, letter.id)
    assert entry.reason == "I want to"
    assert permission in entry.detail


def test_a_refusal_that_its_caller_would_roll_back_is_a_mistake_that_shows():
    eve = somebody()
    (letter,) = Cause().letters(1)

    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        act(Kind.REPLAY, LetterFilter(ids=(letter.id,)), operator=eve)


@pytest.mark.parametrize("move", [desk.pause, desk.resume, desk.cancel], ids=lambda move: move.__name__)
@pytest.mark.parametrize("kind", ["replay", "discard"])
def test_a_job_is_steered_by_who_may_do_what_it_does(move, kind):
    cause = Cause()
    cause.letters(2)
    tomorrow = utc_now() + timedelta(days=1)
    job_id = act(Kind(kind), cause.filter, begins_at=tomorrow).job_id
    other = "discard" if kind == "replay" else "replay"
    eve = somebody(f"deadletters.{other}_deadletter")

    with pytest.raises(NotPermitted, match=f"deadletters.{kind}_deadletter"):
        move(job_id, operator=eve, reason="", at=utc_now())

    assert LetterJob.objects.get(id=job_id).state == "running"
    entry = DeskEntry.objects.get(by=eve.name)
    assert (entry.outcome, entry.action, entry.job_id) == ("refused", move.__name__, job_id)


def test_one_letter_is_replayed_at_once_and_written_down():
    cause = Cause()
    (letter,) = cause.letters(1)
    ada = somebody("deadletters.replay_deadletter")

    acted = act(Kind.REPLAY, cause.filter, operator=ada)

    assert acted.job_id is None
    assert acted.outcome is not None
    assert acted.outcome.done == [letter.id]
    assert states(letter) == ["replaying"]
    entry = DeskEntry.objects.get(by=ada.name)
    assert (entry.outcome, entry.action, entry.letters, entry.refused) == ("done", "replay", 1, 0)
    assert (entry.letter_id, entry.job_id, entry.reason) == (letter.id, None, "mended")
    assert entry.subject == desk.described(cause.filter)


def test_the_entry_and_what_it_tells_of_are_one_transaction(monkeypatch):
    (letter,) = Cause().letters(1)

    def fail(**entry: object) -> None:
        raise RuntimeError("killed here")

    monkeypatch.setattr(desk.desk_log, "note", fail)
    with pytest.raises(RuntimeError, match="killed here"):
        act(Kind.DISCARD, LetterFilter(ids=(letter.id,)))

    assert states(letter) == ["open"]
    assert not LetterAction.objects.filter(letter=letter).exists()


def test_several_letters_to_be_replayed_are_a_job_and_so_is_one_for_later():
    cause = Cause()
    letters = cause.letters(2)
    ada = somebody("deadletters.replay_deadletter")

    job = LetterJob.objects.get(id=act(Kind.REPLAY, cause.filter, operator=ada, rate=7).job_id)

    assert states(*letters) == ["open", "open"], "nothing is sent before the job's first step"
    assert (job.state, job.kind, job.rate, job.ramp) == ("running", "replay", 7, list(settings.REPLAY_RAMP))
    assert job.filter == {"fingerprint": cause.fingerprint}
    assert (job.requested_by, job.reason, job.description) == (
        ada.name,
        "mended",
        desk.described(cause.filter),
    )
    entry = DeskEntry.objects.get(by=ada.name)
    assert (entry.outcome, entry.job_id, entry.letters) == ("done", job.id, None)
    assert str(job.id) in entry.detail
    assert wake_up(job.id).available_at <= utc_now()

    later = utc_now() + timedelta(hours=3)
    one = act(Kind.REPLAY, LetterFilter(ids=(letters[0].id,)), begins_at=later)
    assert wake_up(one.job_id).available_at == later
    assert LetterJob.objects.get(id=one.job_id).rate == settings.REPLAY_RATE


def test_up_to_500_letters_are_discarded_and_restored_at_once_and_more_are_a_job(monkeypatch):
    monkeypatch.setitem(desk.MOST_AT_ONCE, Kind.DISCARD, 3)
    cause = Cause()
    letters = cause.letters(3)

    assert len(act(Kind.DISCARD, cause.filter).outcome.done) == 3
    assert states(*letters) == ["discarded"] * 3
    assert len(act(Kind.RESTORE, cause.filter).outcome.done) == 3
    assert states(*letters) == ["open"] * 3

    cause.letters(1)
    assert act(Kind.DISCARD, cause.filter).job_id is not None


def test_letters_that_are_named_and_cannot_be_moved_are_told_each_and_the_others_go_on():
    cause = Cause()
    letters = cause.letters(4)
    services.discard(letters[:1], by="ada", reason="a test", at=utc_now())
    unknown = uuid4()
    eve = somebody("deadletters.replay_deadletter", "deadletters.discard_deadletter")
    named = LetterFilter(ids=(*(letter.id for letter in letters), unknown))

    acted = act(Kind.REPLAY, named, operator=eve)

    refused = {letters[0].id: "It is discarded, not open.", unknown: "There is no such letter."}
    assert acted.outcome.refused == refused
    job = LetterJob.objects.get(id=acted.job_id)
    assert job.filter["ids"] == [str(letter.id) for letter in letters[1:]]
    entry = DeskEntry.objects.get(by=eve.name)
    assert entry.refused == 2
    assert "It is discarded, not open." in entry.detail
    action = LetterAction.objects.get(letter=letters[0], kind="refused")
    assert (action.by, action.refusal) == (eve.name, "replay: It is discarded, not open.")

    acted = act(Kind.DISCARD, LetterFilter(ids=(letters[0].id, letters[1].id)), operator=eve)
    assert (acted.outcome.done, list(acted.outcome.refused)) == ([letters[1].id], [letters[0].id])
    assert DeskEntry.objects.filter(by=eve.name, letters=1, refused=1, action="discard").exists()


def test_an_unreplayable_letter_is_refused_and_says_so_in_its_own_log():
    (letter,) = Cause().letters(1, body=b"\xff{")

    acted = act(Kind.REPLAY, LetterFilter(ids=(letter.id,)))

    assert "its body is not JSON" in acted.outcome.refused[letter.id]
    action = LetterAction.objects.get(letter=letter)
    assert (action.kind, action.by) == ("refused", "ada")
    assert action.refusal.startswith("replay: It cannot be sent again: its body is not JSON")


def test_where_nothing_matches_nothing_is_done_and_the_log_says_so():
    eve = somebody("deadletters.replay_deadletter")

    acted = act(Kind.REPLAY, LetterFilter(fingerprint="nothing like it"), operator=eve)

    assert (acted.job_id, acted.outcome.done, acted.outcome.refused) == (None, [], {})
    assert DeskEntry.objects.get(by=eve.name).letters == 0


def test_what_cannot_be_is_refused_with_a_sentence_and_changes_nothing():
    cause = Cause()
    letters = cause.letters(2)
    before = DeskEntry.objects.count(), LetterJob.objects.count()
    past, naive = utc_now() - timedelta(seconds=1), datetime(2099, 1, 1)  # noqa: DTZ001

    with pytest.raises(ReasonMissing):
        act(Kind.DISCARD, cause.filter, reason="  ")
    with pytest.raises(WrongFilter, match="only letters that are open can be replayed"):
        act(Kind.REPLAY, LetterFilter(state="discarded"))
    with pytest.raises(WrongFilter, match="only letters that are discarded can be restored"):
        act(Kind.RESTORE, LetterFilter(state="open"))
    for rate in (0, -1, 1e-300, 1e308, float("nan"), float("inf")):
        with pytest.raises(WrongRequest, match=r"must be 0\.1 to 1000000 letters"):
            act(Kind.REPLAY, cause.filter, rate=rate)
    for rate in (1e-300, 1e308):
        with pytest.raises(WrongRequest, match=r"from 0\.001 to 1e"):
            act(Kind.REPLAY, cause.filter, rate=rate)
    with pytest.raises(WrongRequest, match="which has passed"):
        act(Kind.REPLAY, cause.filter, begins_at=past)
    with pytest.raises(WrongRequest, match="time zone"):
        act(Kind.REPLAY, cause.filter, begins_at=naive)
    with pytest.raises(WrongMove, match="There is no bulk job"):
        desk.pause(uuid4(), operator=ADA, reason="", at=utc_now())

    assert states(*letters) == ["open", "open"]
    assert before == (DeskEntry.objects.count(), LetterJob.objects.count())


def test_what_is_done_at_once_takes_few_statements(django_assert_max_num_queries):
    ids = tuple(letter.id for letter in Cause().letters(60))

    # BEGIN, which letters, lock, discard and log, entry, outbox, COMMIT
    with django_assert_max_num_queries(7, using="default"):
        acted = act(Kind.DISCARD, LetterFilter(ids=ids))
    assert len(acted.outcome.done) == 60
    assert not Replay.objects.filter(letter_id__in=ids).exists()
    assert not OutboxMessage.objects.using("default").filter(body__letter_id=str(ids[0])).exists()
