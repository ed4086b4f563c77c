"""Whatever happens between a job's steps, and wherever one is cut off: each letter is sent once, stage after stage."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from deadletters import desk, services
from deadletters.jobs import letter_job_plan, letter_jobs
from deadletters.models import DeadLetter, LetterAction, LetterJob, Replay
from messaging.envelope import utc_now
from messaging.models import OutboxMessage
from messaging.unit_of_work import UnitOfWork, unit_of_work
from tests.integration.deadletters.causes import ADA, Cause, step_at, succeed, under_way

pytestmark = pytest.mark.usefixtures("committed")
RAMP = (1, 5, 20)


class PowerCut(Exception):
    """The step ends here, with nothing committed."""


class Story:
    """A job, and by chance all that may happen to it."""

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.chance = random.Random(seed)
        self.monkeypatch = monkeypatch
        self.cause, self.another = Cause(), Cause()
        self.letters = self.cause.letters(self.chance.randint(1, 70))
        self.now = utc_now()
        acted = desk.act(
            LetterJob.Kind.REPLAY,
            self.cause.filter,
            operator=ADA,
            reason="mended",
            at=self.now,
            begins_at=self.now + timedelta(seconds=1),
            rate=self.chance.choice([3, 40, 1e6]),
        )
        assert acted.job_id is not None
        self.job_id: UUID = acted.job_id
        self.taken_by_others = 0
        self.seen: set[UUID] = set()

    @property
    def job(self) -> LetterJob:
        return LetterJob.objects.get(id=self.job_id)

    def step(self) -> None:
        before = self.job
        open_before = len(under_way(self.job_id))
        job = step_at(self.job_id, self._later())
        if job.done > before.done:
            assert job.state == "running", "a job that stops or ends sends nothing"
            if before.stage != job.stage and before.stage < len(RAMP):
                assert open_before == 0, "a stage begins when the one before it is concluded"

    def step_cut_off(self) -> None:
        """A step that gets to one of its writes, and then the process is gone."""
        before = self._everything()
        place = self.chance.choice(["flush", "begin", "result"])

        def cut(*args: object, **kwargs: object) -> None:
            raise PowerCut

        with self.monkeypatch.context() as patched:
            if place == "flush":
                patched.setattr(UnitOfWork, "flush", cut)
            elif place == "begin":
                patched.setattr(services.statements, "begin_replays", cut)
            else:
                patched.setattr(letter_jobs, "keep_result", cut)
            with pytest.raises(PowerCut), unit_of_work("operations"):
                letter_jobs.advance(self.job_id, at=self._later())
                raise PowerCut
        assert self._everything() == before

    def succeed_some(self) -> None:
        letters = under_way(self.job_id)
        succeed(*self.chance.sample(letters, self.chance.randint(0, len(letters))))

    def one_comes_back(self) -> None:
        letters = under_way(self.job_id)
        if letters and self.chance.random() < 0.3:
            self.chance.choice([self.cause, self.another]).fails_again(self.chance.choice(letters))

    def pause(self) -> None:
        if self.job.state == "running" and self.chance.random() < 0.3:
            desk.pause(self.job_id, operator=ADA, reason="", at=utc_now())

    def resume(self) -> None:
        if self.job.state in ("paused", "stopped"):
            desk.resume(self.job_id, operator=ADA, reason="", at=utc_now())

    def somebody_replays_one(self) -> None:
        letter = self.chance.choice(self.letters)
        self.taken_by_others += len(services.replay([letter], by="eve", reason="", at=utc_now()).done)

    def check(self) -> None:
        job = self.job
        messages = [letter.message_id for letter in self.letters]
        replays = Replay.objects.filter(letter__message_id__in=messages)
        by_job = list(replays.filter(job_id=self.job_id).values_list("letter_id", flat=True))
        assert len(by_job) == len(set(by_job)) == job.done
        assert replays.count() == job.done + self.taken_by_others
        rows = OutboxMessage.objects.using("default").filter(message_id__in=messages)
        assert rows.count() == replays.count() == len(set(rows.values_list("headers__replay_id", flat=True)))
        logged = LetterAction.objects.filter(letter__message_id__in=messages, kind="replayed")
        assert logged.count() == replays.count()
        under_way_now = len(under_way(self.job_id))
        assert under_way_now <= max(sum(RAMP), letter_job_plan.most_open(job.rate))
        if job.stage < len(RAMP):
            assert job.stage_done <= RAMP[job.stage]
        if job.state == "finished":
            assert under_way_now == 0
            assert not DeadLetter.objects.filter(
                id__in=[letter.id for letter in self.letters], state="open"
            ).exists()

    def _later(self) -> datetime:
        self.now = max(self.now, utc_now()) + timedelta(seconds=self.chance.choice([0, 0.2, 3, 10]))
        return self.now

    def _everything(self) -> tuple[object, ...]:
        return (
            LetterJob.objects.filter(id=self.job_id).values().get(),
            Replay.objects.filter(job_id=self.job_id).count(),
            DeadLetter.objects.filter(group_id=self.cause.fingerprint, state="open").count(),
        )


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_between_its_steps_a_job_sends_each_letter_once(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(seed, monkeypatch)
    events: list[Callable[[], None]] = [
        *[story.step] * 4,
        *[story.succeed_some] * 4,
        *(story.step_cut_off, story.one_comes_back, story.pause, story.resume, story.somebody_replays_one),
    ]
    for _ in range(60):
        story.chance.choice(events)()
        story.check()

    for _ in range(60):
        story.resume()
        succeed(*under_way(story.job_id))
        story.step()
        story.check()
        if story.job.state == "finished":
            break
    assert story.job.state == "finished"
