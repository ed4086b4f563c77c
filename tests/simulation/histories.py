"""One history from a seed: what happens, in which order, and that it comes to rest as promised."""

from collections import Counter
from random import Random

from sagas.incoming import (
    Action,
    CancelSaga,
    MarkUndone,
    PauseSaga,
    ResumeSaga,
    RetryStep,
    SkipStep,
)
from sagas.switches import SwitchKind
from tests.simulation.services import BrokenPromise
from tests.simulation.tables import TABLES
from tests.simulation.world import Clock, World

MOST_TURNS = 40
LAST = 400
"""Turns after which a history that is left to itself must have come to rest."""
KINDS = tuple(SwitchKind)
ABOUT = ("command", "undo", "ask")


class Failed(AssertionError):
    """A history in which a promise was broken; `seed` makes it happen again."""

    def __init__(self, seed: int, problem: str, trace: list[str]) -> None:
        self.seed, self.problem, self.trace = seed, problem, trace
        super().__init__(
            f"history {seed}: {problem}\n  " + "\n  ".join(trace) + "\n"
            f"again: python -m tests.simulation --seed {seed} --histories 1 --trace"
        )

    def __reduce__(self) -> tuple[type["Failed"], tuple[int, str, list[str]]]:
        return Failed, (self.seed, self.problem, self.trace)


def run(seed: int, seen: Counter[str] | None = None) -> list[World]:
    """Live through one history, of one saga or of two beside each other, and count what is seen; raises `Failed`."""
    seen = Counter() if seen is None else seen
    random = Random(seed)
    clock = Clock()
    worlds = [World(TABLES[seed % len(TABLES)], random, clock, seen)]
    if random.random() < 0.1:
        worlds.append(World(random.choice(TABLES), random, clock, seen))
        seen["two sagas"] += 1
    try:
        for world in worlds:
            world.start()
        trouble = random.random() * 0.5
        for _ in range(int(random.random() * MOST_TURNS) * len(worlds)):
            world = worlds[0] if len(worlds) == 1 else random.choice(worlds)
            if not (world.saga.is_final and not world.commands):
                turn(world, worlds, random, trouble=trouble)
        come_to_rest(worlds, random)
        for world in worlds:
            world.check_the_end()
            if world.waiting_for_a_person():
                world.seen["waits for a person"] += 1
                mend(world, random)
                world.check_the_end()
    except Exception as error:  # whatever a decision raises is a failure of the history
        problem = str(error) if isinstance(error, BrokenPromise) else f"{type(error).__name__}: {error}"
        raise Failed(seed, problem, [line for world in worlds for line in world.trace()]) from error
    return worlds


def turn(world: World, worlds: list[World], random: Random, *, trouble: float) -> None:
    """One thing happens; with the probability `trouble` it is one that nobody wants."""
    chance = random.random()
    if chance < trouble:
        _interfere(world, worlds, random)
    elif chance > 0.95:
        _let_time_pass(world, random)
    elif world.mail and (not world.commands or random.random() < 0.5):
        place = int(random.random() * len(world.mail))
        chance = random.random()
        world.deliver_mail(place, twice=chance < 0.1, dies=chance > 0.96)
    elif world.commands:
        place = int(random.random() * len(world.commands))
        chance = random.random()
        if chance < trouble * 0.2:
            world.bury(place)
        else:
            world.deliver_command(place, twice=chance > 0.9, dies=0.87 < chance < 0.9)
    elif not _say_something(world, random):
        _let_time_pass(world, random)


def _interfere(world: World, worlds: list[World], random: Random) -> None:
    match int(random.random() * 11):
        case 0 | 1:
            _let_time_pass(world, random)
        case 2:
            _say_something(world, random)
        case 3:
            world.act(random.choice((PauseSaga(), ResumeSaga(), ResumeSaga())))
        case 4 | 5:
            world.act(_something_about_a_step(world, random))
        case 6:
            if random.random() < 0.5:
                world.act(CancelSaga())
        case 7 | 9 | 10:
            set_or_lift(worlds, world, random)
        case 8:
            if world.letters:
                deal = world.replay if random.random() < 0.6 else world.discard
                deal(int(random.random() * len(world.letters)))


def _something_about_a_step(world: World, random: Random) -> Action:
    """Mostly about one that something can be done to."""
    states = [state for state in world.saga.under_way() if random.random() < 0.8] or world.saga.steps
    kind = random.choice((RetryStep, RetryStep, SkipStep, MarkUndone))
    return kind(random.choice(states).name)


def set_or_lift(worlds: list[World], world: World, random: Random) -> None:
    """Up to two switches are set; whatever a lifted one held back is looked at some time later."""
    held = [switch for switch in world.clock.switches if switch.lifted_at is None]
    if len(held) < 2 and random.random() < 0.5:
        state = random.choice(world.saga.steps)
        world.set_switch(state.name, random.choice(KINDS), about=random.choice(ABOUT))
    elif held:
        _lift(worlds, world, [random.choice(held)])


def _lift(worlds: list[World], world: World, which: list[object] | None = None) -> None:
    world.lift_switches(which)
    for other in worlds:
        other.note_lifting()


def _let_time_pass(world: World, random: Random) -> None:
    if random.random() < 0.2:  # and nobody looks
        world.let_time_pass(random.random() * 50)
        return
    due = world.saga.next_deadline()
    if due is not None and random.random() < 0.7:
        seconds = max(0.0, (due - world.clock.now).total_seconds())
        world.let_time_pass(seconds + random.choice((0.0, 0.001, 5.0)))
    else:
        world.let_time_pass(random.random() * 100)
    world.look_at_the_clock()


def _say_something(world: World, random: Random) -> bool:
    waits = [step.name for step in world.definition.waits()]
    if not waits:
        return False
    world.say(random.choice(waits), is_refused=random.random() < 0.2)
    return True


def come_to_rest(worlds: list[World], random: Random) -> None:
    """Nobody interferes any more: switches are lifted, pauses ended, and all that is under way arrives."""
    if random.random() < 0.5:
        _lift(worlds, worlds[0])
    for world in worlds:
        world.act(ResumeSaga())
    if worlds[0].clock.is_anything_held:
        _lift(worlds, worlds[0])
    for world in worlds:
        _deliver_everything(world, random)


def _deliver_everything(world: World, random: Random) -> None:
    for _ in range(LAST):
        if world.commands:
            world.deliver_command(int(random.random() * len(world.commands)))
        elif world.mail:
            world.deliver_mail(int(random.random() * len(world.mail)))
        elif world.saga.is_final or not world.wait_for_the_deadline():
            return
    raise BrokenPromise("it does not come to rest")


def mend(world: World, random: Random) -> None:
    """Whatever waits for a person can be brought to an end by one, with what the desk offers."""
    for _ in range(LAST):
        if world.saga.is_final:
            world.seen["mended"] += 1
            return
        waits = [s.name for s in world.definition.waits() if s.name in world.waiting_for_a_person()]
        possible = world.possible()
        if world.letters and random.random() < 0.3:
            world.replay(0)
        elif waits and random.random() < 0.5:
            world.say(waits[0])
        elif possible:
            world.act(random.choice(possible))
        elif not waits:
            raise BrokenPromise(f"nobody can do anything about {world.waiting_for_a_person()}")
        _deliver_everything(world, random)
        if not world.saga.is_final and not world.waiting_for_a_person():
            raise BrokenPromise(f"the saga is {world.saga.status} and waits for nobody")
    raise BrokenPromise("a person's work does not end it")


def run_many(first: int, histories: int) -> Counter[str]:
    """Live through so many histories from this seed on; what was seen in them, counted. Raises `Failed`."""
    seen: Counter[str] = Counter()
    for seed in range(first, first + histories):
        run(seed, seen)
    return seen
