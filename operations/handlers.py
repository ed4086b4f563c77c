"""What the operator's desk reacts to."""

from contracts.operations import AdvanceLetterJob, ReplaySucceeded
from deadletters import services as dead_letters
from deadletters.jobs import letter_jobs
from messaging.handling import handles
from messaging.unit_of_work import current


@handles(ReplaySucceeded)
def close_dead_letter(event: ReplaySucceeded) -> None:
    dead_letters.resolve(event.replay_id, at=current().now)


@handles(AdvanceLetterJob)
def advance_letter_job(command: AdvanceLetterJob) -> None:
    letter_jobs.advance(command.job_id, at=current().now)
