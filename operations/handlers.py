"""What the operator's desk reacts to."""

from contracts.operations import (
    AdvanceLetterJob,
    LapsePauseSwitch,
    NoteClosedBreaker,
    NoteOpenBreaker,
    ReplaySucceeded,
)
from deadletters import services as dead_letters
from deadletters.jobs import letter_jobs
from messaging.handling import handles
from messaging.unit_of_work import current
from sagas import switching


@handles(ReplaySucceeded)
def close_dead_letter(event: ReplaySucceeded) -> None:
    dead_letters.resolve(event.replay_id, at=current().now)


@handles(AdvanceLetterJob)
def advance_letter_job(command: AdvanceLetterJob) -> None:
    letter_jobs.advance(command.job_id, at=current().now)


@handles(NoteOpenBreaker)
def hold_sagas_back(command: NoteOpenBreaker) -> None:
    switching.hold_service_back(
        command.service, gateway=command.gateway, at=command.at, lapses_at=command.until, work=current()
    )


@handles(NoteClosedBreaker)
def let_sagas_go_on(command: NoteClosedBreaker) -> None:
    switching.let_service_go_on(command.service, gateway=command.gateway, at=command.at, work=current())


@handles(LapsePauseSwitch)
def lapse_pause_switch(command: LapsePauseSwitch) -> None:
    switching.lapse(command.switch_id, at=current().now, work=current())
