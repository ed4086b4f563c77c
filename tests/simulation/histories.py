"""One history from a seed: what happens, in which order, and that it comes to rest as promised."""

from collections import Counter
from random import Random

from sagas.definition import Wait
from sagas.incoming import CancelSaga, MarkUndone, PauseSaga, ResumeSaga, RetryStep, SkipStep
from tests.simulation.toys import TOYS
from tests.simulation.world import LAST, BrokenPromise, World

MOST_TURNS = 30


class Failed(AssertionError):
    """A history in which a promise was broken; `seed` makes it happen again."""

    def __reduce__(self) -> tuple[type["Failed"], tuple[int, str, list[str]]]:
        return Failed, (self.seed, self.problem, self.trace)

    def __init__(self, seed: int, problem: str, trace: list[str]) -> None:
        self.seed = seed
        self.problem, self.trace = problem, trace
        super().__init__(
            f"history {seed}: {problem}\n  " + "\n  ".join(trace) + "\n"
            f"again: python -m tests.simulation --seed {seed} --histories 1 --trace"
        )


def run(seed: int) -> World:
    """Live through one history; raises `Failed`."""
    random = Random(seed)
    world = World(TOYS[seed % len(TOYS)], random)
    try:
        world.start()
        trouble = random.random() * 0.5
        for _ in range(random.randrange(MOST_TURNS)):
            if world.saga.is_final and not world.commands:
                break
            turn(world, random, trouble=trouble)
        come_to_rest(world, random)
        world.check_the_end()
    except BrokenPromise as broken:
        raise Failed(seed, str(broken), world.trace) from broken
    except AssertionError:
        raise
    except Exception as error:  # whatever a decision raises is a failure of the history
        raise Failed(seed, f"{type(error).__name__}: {error}", world.trace) from error
    return world


def turn(world: World, random: Random, *, trouble: float) -> None:
    """One thing happens; with the probability `trouble` it is one that nobody wants."""
    if random.random() < trouble:
        _interfere(world, random)
    elif world.replies and (not world.commands or random.random() < 0.5):
        world.deliver_reply(random.randrange(len(world.replies)), twice=random.random() < 0.1)
    elif world.commands:
        place = random.randrange(len(world.commands))
        world.deliver_command(place, twice=random.random() < 0.1, dies=random.random() < trouble * 0.2)
    elif not _say_something(world, random):
        _let_time_pass(world, random)


def _interfere(world: World, random: Random) -> None:
    steps = [step.name for step in world.saga.steps]
    match random.randrange(9):
        case 0 | 1:
            _let_time_pass(world, random)
        case 2:
            _say_something(world, random)
        case 3:
            world.act(random.choice((PauseSaga(), ResumeSaga(), ResumeSaga())))
        case 4:
            world.act(RetryStep(random.choice(steps)))
        case 5:
            world.act(random.choice((SkipStep, MarkUndone))(random.choice(steps)))
        case 6:
            if random.random() < 0.5:
                world.act(CancelSaga())
        case 7:
            if any(switch.lifted_at is None for switch in world.switches):
                world.lift_switches()
            else:
                world.set_switch(random.choice(steps))
        case 8:
            if world.letters:
                (world.replay if random.random() < 0.7 else world.discard)(
                    random.randrange(len(world.letters))
                )


def _let_time_pass(world: World, random: Random) -> None:
    due = world.saga.next_deadline()
    if due is not None and random.random() < 0.7:
        world.let_time_pass(max(0.0, (due - world.now).total_seconds()) + random.choice((0.0, 0.001, 5.0)))
    else:
        world.let_time_pass(random.random() * 100)
    world.look_at_the_clock()


def _say_something(world: World, random: Random) -> bool:
    waits = [step.name for step in world.definition.steps if isinstance(step, Wait)]
    if not waits:
        return False
    world.say(random.choice(waits), is_refused=random.random() < 0.2)
    return True


def come_to_rest(world: World, random: Random) -> None:
    """Nobody interferes any more: switches are lifted, pauses ended, and all that is under way arrives."""
    world.lift_switches()
    world.act(ResumeSaga())
    for _ in range(LAST):
        if world.commands:
            world.deliver_command(random.randrange(len(world.commands)))
        elif world.replies:
            world.deliver_reply(random.randrange(len(world.replies)))
        elif world.saga.is_final:
            return
        elif world.saga.next_deadline() is not None:
            due = world.saga.next_deadline()
            assert due is not None
            world.let_time_pass(max(0.0, (due - world.now).total_seconds()))
            world.look_at_the_clock()
        else:
            return
    raise BrokenPromise("it does not come to rest")


def run_many(first: int, histories: int) -> Counter[str]:
    """Live through so many histories from this seed on; what was seen in them, counted. Raises `Failed`."""
    seen: Counter[str] = Counter()
    for seed in range(first, first + histories):
        seen += run(seed).seen
    return seen
