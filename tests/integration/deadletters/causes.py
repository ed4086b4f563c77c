"""Letters of one cause, which a test can tell from all others, and what becomes of their replays."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID, uuid4

from contracts.operations import AdvanceLetterJob, ReplaySucceeded
from deadletters.collecting.failures import Attempt, Failure, Failures
from deadletters.collecting.reading import Letter, Received, read
from deadletters.collecting.storing import store
from deadletters.desk import Operator
from deadletters.filtering import LetterFilter
from deadletters.jobs import letter_jobs
from deadletters.models import DeadLetter, LetterJob, Replay
from messaging.consumer import consume
from messaging.envelope import Envelope, new_message_id, utc_now
from messaging.models import OutboxMessage
from messaging.unit_of_work import unit_of_work
from tests.builders import a_delivery, an_envelope, reserve_stock

ADA = Operator(name="ada", may=lambda permission: True)
DEATHS = [
    {
        "reason": "rejected",
        "queue": "inventory",
        "exchange": "commands",
        "routing-keys": ["inventory.reserve_stock"],
        "count": 1,
    }
]


class _Said(Failures):
    """Every attempt is recorded with this failure."""

    def __init__(self, exception: str) -> None:
        super().__init__()
        self._exception = exception

    def of(self, service: str, wanted: Sequence[Attempt]) -> dict[Attempt, Failure]:
        return {attempt: Failure(self._exception, "") for attempt in wanted}


class Cause:
    """Something that is broken, and the letters that come of it."""

    def __init__(self) -> None:
        self.exception = f"Broken{uuid4().hex[:12]}: the shelf is gone"

    def letters(self, count: int, *, body: bytes | None = None) -> list[DeadLetter]:
        """So many new letters, in the order of their ids."""
        read_ = [_read(an_envelope(reserve_stock(uuid4())), body=body) for _ in range(count)]
        for begin in range(0, count, 500):
            store(read_[begin : begin + 500], failures=_Said(self.exception))
        found = DeadLetter.objects.filter(id__in=[letter.id for letter in read_])
        return list(found.defer("body").order_by("id"))

    @property
    def fingerprint(self) -> str:
        name = self.exception.split(":")[0]
        (fingerprint,) = set(
            DeadLetter.objects.filter(exception__startswith=name).values_list("group_id", flat=True)
        )
        return fingerprint

    @property
    def filter(self) -> LetterFilter:
        return LetterFilter(fingerprint=self.fingerprint)

    def fails_again(self, letter: DeadLetter) -> DeadLetter:
        """The letter's replay comes back with this failure, as a new letter."""
        (new,) = self.fail_again([Replay.objects.get(letter=letter, outcome="open")])
        return DeadLetter.objects.get(id=new)

    def fail_again(self, replays: Sequence[Replay]) -> list[UUID]:
        """These replays come back with this failure, in one batch of a collector's; the new letters' ids."""
        envelopes = [
            an_envelope(reserve_stock(uuid4()), message_id=replay.letter.message_id, replay_id=replay.id)
            for replay in replays
        ]
        new = [_read(envelope) for envelope in envelopes]
        assert store(new, failures=_Said(self.exception)).letters == sorted(letter.id for letter in new)
        return [letter.id for letter in new]


def _read(envelope: Envelope, *, body: bytes | None = None) -> Letter:
    payload = reserve_stock(uuid4()).to_payload()
    received = Received(
        service="inventory",
        properties={"application_headers": {"x-death": DEATHS, **envelope.to_headers()}},
        body=body if body is not None else json.dumps([[payload], {}, {}]).encode(),
    )
    return read(received, letter_id=new_message_id(), now=utc_now())


def succeed(*letters: DeadLetter) -> None:
    """The services report that the letters' open replays were handled."""
    for replay in Replay.objects.filter(letter__in=letters, outcome="open").select_related("letter"):
        report = ReplaySucceeded(replay_id=replay.id, message_id=replay.letter.message_id or uuid4())
        consume("operations", a_delivery(report))


def under_way(job_id: UUID) -> list[DeadLetter]:
    """Letters whose replay by this job is open, first sent first."""
    return list(DeadLetter.objects.filter(replays__job_id=job_id, replays__outcome="open").order_by("id"))


def sent(job_id: UUID) -> list[Replay]:
    """Every replay of the job, first sent first."""
    return list(Replay.objects.filter(job_id=job_id).order_by("id"))


def wake_up(job_id: UUID) -> OutboxMessage | None:
    """The message in the outbox that wakes the job's next step."""
    return OutboxMessage.objects.using("default").filter(known_key=f"letter-job:{job_id}").first()


def step(job_id: UUID) -> LetterJob:
    """The next step as it comes to be: the relay sends its message, the operators' worker handles it."""
    row = wake_up(job_id)
    assert row is not None, "nothing wakes this job"
    row.delete()
    command = AdvanceLetterJob(job_id=job_id)
    consume("operations", a_delivery(command, an_envelope(command, message_id=row.message_id)))
    return LetterJob.objects.get(id=job_id)


def step_at(job_id: UUID, at: datetime) -> LetterJob:
    """A step at another time than now."""
    with unit_of_work("operations"):
        letter_jobs.advance(job_id, at=at)
    return LetterJob.objects.get(id=job_id)


def steps_until(job_id: UUID, is_so: Callable[[LetterJob], bool], *, most: int = 50) -> LetterJob:
    """Steps, each as soon as may be, until the job is so."""
    for _ in range(most):
        job = step(job_id)
        if is_so(job):
            return job
    raise AssertionError(f"after {most} steps the job is still {job.state}: {job.__dict__}")
