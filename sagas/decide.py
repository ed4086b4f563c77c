"""The decision of a saga: what it becomes, and what it says, on one more message. Pure: no database and no clock.

A step goes through these states:

    pending -> sent -> done -> undoing -> undone
                 |       refused              (the service said no: nothing happened, nothing is undone)
                 +-----> asking               (nobody knows what happened: the service is asked)
                 +-----> overdue -> undoing   (nobody knows what happened: it is undone)
                 +-----> failed  -> undoing   (its command is a dead letter: nobody knows either)
                 +-----> held                 (its command is a dead letter, and a person decides)
                                    undoing -> stuck (its compensation is a dead letter: the others go on)
                                               stuck -> mended (a person has undone it by hand)
    pending -> waiting -> done                (for an event from outside, which may also be late: held)
    pending -> pausing -> done                (for time to pass)
    any that is under way -> skipped          (a person says that it is done)

A step begins when all that it comes after are done. Before the pivot a refusal or a missed deadline turns the saga
round: what is done or unknown is undone, each step when all that came after it are. A command that is still out then
is waited for, until its deadline. The pivot and the steps after it are repeated until they are answered. A
compensation is repeated too; one that is overdue does not keep the others waiting.

A dead letter ends the repetitions: nothing more is sent for a step that is held or stuck. Whatever was sent before, a
repetition that is still on its way or the letter replayed, is under the same idempotency key, so its reply is
awaited as before. Where the letter is discarded, no reply comes: a step before the pivot counts as failed, any other
goes on waiting for a person.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from contracts import reasons
from contracts.message import Event
from contracts.sagas import NoteDeadLetter, NoteDiscardedLetter
from sagas.actions import refusal_of
from sagas.definition import Exhausted, Pause, Saga, Wait
from sagas.errors import ActionRefused
from sagas.facts import REASON
from sagas.incoming import (
    Action,
    CancelSaga,
    DeadlinePassed,
    Happened,
    Incoming,
    MarkUndone,
    PauseSaga,
    Replied,
    ResumeSaga,
    RetryStep,
    SkipStep,
    Started,
)
from sagas.moves import Decision, Moves, Policy
from sagas.state import (
    ACTION_IS_AWAITED,
    COMPENSATION_IS_AWAITED,
    HAS_A_DEADLINE,
    NEEDS_A_PERSON,
    SagaState,
    SagaStatus,
    StepState,
    StepStatus,
)
from sagas.switches import Switch

MOST_QUESTIONS = 3
"""So many questions about one sending stay unanswered before a step that can be undone is."""


def begin(definition: Saga, saga_id: UUID) -> SagaState:
    """A saga of which nothing has happened yet."""
    steps = tuple(StepState(name=step.name) for step in definition.steps)
    return SagaState(id=saga_id, status=SagaStatus.RUNNING, reason="", data={}, steps=steps)


def decide(
    definition: Saga,
    saga: SagaState,
    incoming: Incoming,
    *,
    now: datetime,
    policy: Policy,
    switches: Sequence[Switch] = (),
) -> Decision:
    """What follows from one message. A message that changes nothing gives the saga back as it was.

    `switches` are those that are set, and those that were lifted since anything that is still awaited was sent.
    Raises `ActionRefused` for what people cannot do to the saga as it is.
    """
    turn = Turn(definition, saga, now, policy, switches)
    if isinstance(incoming, Action):
        refusal = refusal_of(definition, saga, incoming, switches)
        if refusal is not None:
            raise ActionRefused(refusal)
        turn.act(incoming)
        return turn.decision()
    if saga.is_final:
        return Decision(saga, ())
    match incoming:
        case Started():
            turn.start(incoming.event)
        case Replied():
            turn.reply(incoming)
        case Happened():
            turn.happen(incoming.event)
        case DeadlinePassed():
            turn.check_deadlines(incoming.steps)
        case NoteDeadLetter():
            turn.note_dead_letter(incoming)
        case NoteDiscardedLetter():
            turn.note_discarded_letter(incoming)
    return turn.decision()


class Turn(Moves):
    """One decision in the making: what each kind of message brings about."""

    def start(self, event: Event) -> None:
        self._learn("", event)
        seconds = self._definition.deadline
        if seconds is not None:
            self._become(deadline_at=self._now + timedelta(seconds=seconds))
        for position, step in enumerate(self._definition.steps):
            if step.command is None and not isinstance(step, (Wait, Pause)):
                self._change(
                    position,
                    status=StepStatus.DONE,
                    finished_at=self._now,
                    compensation=step.undo.wire_type if step.undo else "",
                )
        self.go_on()

    def reply(self, replied: Replied) -> None:
        position = self._position_of(replied.step, replied.step_try)
        if position is None:
            return
        step, event = self._definition.steps[position], replied.event
        if isinstance(event, step.done or ()):
            self._take_done(position, event)
        elif isinstance(event, step.refused or ()):
            self._take_refused(position, event)
        elif isinstance(event, step.nothing or ()):
            self._take_nothing(position)
        elif isinstance(event, step.undone or ()) and self._steps[position].status in COMPENSATION_IS_AWAITED:
            self._settle(position, StepStatus.UNDONE)
            self.go_on()

    def happen(self, event: Event) -> None:
        for position, step in enumerate(self._definition.steps):
            if not isinstance(step, Wait):
                continue
            if isinstance(event, step.done or ()):
                self._take_done(position, event)
            elif isinstance(event, step.refused or ()):
                self._take_refused(position, event)

    def check_deadlines(self, overdue: Sequence[str] | None = None) -> None:
        """Deal with what is overdue: with the steps named, or with those whose deadline has passed."""
        if self._saga.paused_at is not None:
            return
        if self._is_saga_overdue(overdue):
            self._missed.append("")
            self._turn_round(reasons.SAGA_OVERDUE)
        for position in range(len(self._steps)):
            if self._steps[position].status not in HAS_A_DEADLINE:
                continue
            if overdue is None:
                self._count_time_held(position)
            state = self._steps[position]
            is_due = (
                state.deadline_at is not None and state.deadline_at <= self._now and not state.is_frozen
                if overdue is None
                else state.name in overdue
            )
            if is_due:
                self._missed.append(state.name)
                self._miss_deadline(position)
        self.go_on()

    def note_dead_letter(self, note: NoteDeadLetter) -> None:
        """The command that is awaited has become a dead letter; one that is awaited no more changes nothing."""
        position = self._awaited(note)
        if position is None:
            return
        self._change(position, letter_id=note.letter_id, problem=note.problem)
        self._exhaust(position, is_compensation=note.is_compensation)

    def note_discarded_letter(self, note: NoteDiscardedLetter) -> None:
        """No reply comes any more. Of several letters of one command the last counts."""
        position = self._awaited(note)
        if position is None:
            return
        state = self._steps[position]
        if state.status in NEEDS_A_PERSON and state.letter_id != note.letter_id:
            # A former letter of the command, or one that is still to be noted.
            if not state.is_letter_discarded:
                self._change(position, discarded_letter_id=note.letter_id)
            return
        if state.status not in NEEDS_A_PERSON and state.letter_id == note.letter_id:
            # A person has had the command sent again since that letter: the answer to it is awaited.
            self._change(position, discarded_letter_id=note.letter_id)
            return
        self._change(position, letter_id=note.letter_id, discarded_letter_id=note.letter_id)
        self._exhaust(position, is_compensation=note.is_compensation)

    def act(self, action: Action) -> None:
        """Do what a person wants, which is possible."""
        match action:
            case PauseSaga():
                self._pause()
            case ResumeSaga():
                self._resume()
            case CancelSaga():
                self._turn_round(reasons.CANCELLED_BY_OPERATOR)
            case RetryStep():
                self._retry(self._definition.positions[action.step])
            case SkipStep():
                self._settle(self._definition.positions[action.step], StepStatus.SKIPPED)
            case MarkUndone():
                self._settle(self._definition.positions[action.step], StepStatus.MENDED)
        self.go_on()

    # Replies.

    def _take_done(self, position: int, event: Event) -> None:
        state, step = self._steps[position], self._definition.steps[position]
        is_late = state.status is StepStatus.SKIPPED and state.sendings > 0
        is_early = state.status is StepStatus.PENDING and isinstance(step, Wait)
        if state.status in ACTION_IS_AWAITED or is_late or is_early:
            self._learn(step.name, event)
            self._settle(position, StepStatus.DONE)
            self._change(position, failure="")
            self.go_on()

    def _take_refused(self, position: int, event: Event) -> None:
        state, step = self._steps[position], self._definition.steps[position]
        is_early = state.status is StepStatus.PENDING and isinstance(step, Wait)
        # Said late, that nothing happened still counts: there is nothing to undo, or to wait for.
        is_given_up = state.status in (StepStatus.OVERDUE, StepStatus.FAILED, *COMPENSATION_IS_AWAITED)
        if state.status is StepStatus.SKIPPED:
            # The person's word stands, and there is nothing to be undone.
            self._change(position, compensation="")
            self.go_on()
            return
        if not (state.status in ACTION_IS_AWAITED or is_early or is_given_up):
            return
        reason = str(getattr(event, REASON, "")) or event.wire_type
        self._settle(position, StepStatus.REFUSED)
        self._change(position, failure=reason)
        self._turn_round(reason)
        self.go_on()

    def _take_nothing(self, position: int) -> None:
        """As far as the service can tell the command had no effect. It may still be on its way."""
        state = self._steps[position]
        if state.status is not StepStatus.ASKING:
            return
        is_given_up = self._can_be_undone(position) and (
            self._saga.status is not SagaStatus.RUNNING
            or state.sendings > max(1, self._definition.steps[position].repeats)
        )
        if is_given_up:
            self._give_up(position)
        elif self._saga.paused_at is not None:
            self._change(position, deadline_at=self._saga.paused_at)  # due when it is resumed
        elif self._is_held_back(position):
            self._freeze(position)
        else:
            self._send(position, is_compensation=False, sendings=state.sendings + 1)
        self.go_on()

    # Time.

    def _is_saga_overdue(self, overdue: Sequence[str] | None) -> bool:
        if self._saga.status is not SagaStatus.RUNNING or self._saga.deadline_at is None:
            return False
        if overdue is not None:
            return "" in overdue
        return self._saga.stopped_at is None and self._saga.deadline_at <= self._now

    def _miss_deadline(self, position: int) -> None:
        state, step = self._steps[position], self._definition.steps[position]
        if state.status is StepStatus.UNDOING:
            self._send(position, is_compensation=True, sendings=state.sendings + 1)
        elif state.status is StepStatus.PAUSING:
            self._settle(position, StepStatus.DONE)
        elif state.status is StepStatus.WAITING:
            self._miss_event(position)
        elif self._saga.status is not SagaStatus.RUNNING:
            self._give_up(position)
        elif not self._can_be_undone(position):
            if step.ask is not None:
                self._ask(position)
            else:
                self._send(position, is_compensation=False, sendings=state.sendings + 1)
        elif step.ask is not None and state.questions < MOST_QUESTIONS * state.sendings:
            self._ask(position)
        elif step.ask is None and state.sendings <= step.repeats:
            self._send(position, is_compensation=False, sendings=state.sendings + 1)
        else:
            self._give_up(position)

    def _miss_event(self, position: int) -> None:
        self._change(position, deadline_at=None, counted_at=None, failure=reasons.STEP_OVERDUE)
        if self._definition.steps[position].exhausted is Exhausted.COMPENSATE and self._can_be_undone(
            position
        ):
            self._settle(position, StepStatus.OVERDUE)
            self._turn_round(reasons.STEP_OVERDUE)
        else:
            self._change(position, status=StepStatus.HELD)

    def _give_up(self, position: int) -> None:
        """Nobody knows what became of the command, and nobody waits any longer to learn it."""
        self._change(
            position,
            status=StepStatus.OVERDUE,
            deadline_at=None,
            counted_at=None,
            is_frozen=False,
            failure=reasons.STEP_OVERDUE,
        )
        self._turn_round(reasons.STEP_OVERDUE)

    def _pause(self) -> None:
        """What pause switches have held until now is counted, so that no time counts twice."""
        for position in range(len(self._steps)):
            self._count_time_held(position)
        self._become(paused_at=self._now)

    def _resume(self) -> None:
        """Deadlines have stood still since it was paused, whatever was set or lifted meanwhile."""
        assert self._saga.paused_at is not None
        stood_still = self._now - self._saga.paused_at
        for position, state in enumerate(self._steps):
            if state.deadline_at is not None:
                self._change(position, deadline_at=state.deadline_at + stood_still, counted_at=self._now)
                self._count_time_held(position)
        deadline = self._saga.deadline_at
        self._become(paused_at=None, deadline_at=deadline + stood_still if deadline is not None else None)

    # Dead letters.

    def _exhaust(self, position: int, *, is_compensation: bool) -> None:
        """Nothing more is sent for a command that is a dead letter: it is undone, or waits for a person."""
        state, step = self._steps[position], self._definition.steps[position]
        if is_compensation:
            self._hold(position, StepStatus.STUCK)
            self.go_on()
            return
        is_given_up = (
            state.is_letter_discarded
            or step.exhausted is Exhausted.COMPENSATE
            or self._saga.status is not SagaStatus.RUNNING
        )
        if is_given_up and self._can_be_undone(position):
            self._hold(position, StepStatus.FAILED)
            self._turn_round(reasons.STEP_FAILED)
        else:
            self._hold(position, StepStatus.HELD)
        self._change(position, failure=reasons.STEP_FAILED)
        self.go_on()

    def _awaited(self, note: NoteDeadLetter | NoteDiscardedLetter) -> int | None:
        """The step whose reply to this very command is awaited."""
        position = self._position_of(note.step, note.step_try)
        if position is None:
            return None
        awaited = COMPENSATION_IS_AWAITED if note.is_compensation else ACTION_IS_AWAITED
        return position if self._steps[position].status in awaited else None

    def _retry(self, position: int) -> None:
        state = self._steps[position]
        is_repetition = state.status in HAS_A_DEADLINE
        sendings = state.sendings + 1 if is_repetition else 1
        if state.status in COMPENSATION_IS_AWAITED:
            self._send(position, is_compensation=True, sendings=sendings)
        elif isinstance(self._definition.steps[position], Wait):
            self._wait(position, self._policy.due(self._definition.steps[position], self._now, sendings=1))
        elif state.status is StepStatus.ASKING:
            self._ask(position)
        else:
            self._send(position, is_compensation=False, sendings=sendings)
