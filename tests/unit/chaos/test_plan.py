"""What the nemesis does follows from the seed, leaves the shop time to breathe, and leaves nothing out."""

from itertools import pairwise

import pytest

from chaos.plan import OUTAGES, RARE, SERVERS, Action, Kind, least_gap, plan

PROCESSES = (
    "gateway",
    "relay",
    "orchestrator",
    "orders-worker",
    "inventory-worker",
    "billing-worker",
    "shipping-worker",
    "notifications-worker",
    "web",
)
QUEUES = ("billing", "inventory", "notifications", "orders", "sagas", "shipping")
DATABASES = ("default", "orders", "billing")
SEEDS = range(8)
ORDERS = (50, 150, 1000, 10_000)

any_run = pytest.mark.parametrize("orders", ORDERS)
any_seed = pytest.mark.parametrize("seed", SEEDS)


def planned(*, seed: int = 1, orders: int = 1000, fury: float = 1) -> tuple[Action, ...]:
    return plan(seed=seed, orders=orders, processes=PROCESSES, queues=QUEUES, databases=DATABASES, fury=fury)


@any_run
def test_the_same_seed_gives_the_same_plan(orders):
    assert planned(seed=7, orders=orders) == planned(seed=7, orders=orders)


@any_run
def test_another_seed_gives_another_plan(orders):
    assert len({planned(seed=seed, orders=orders) for seed in SEEDS}) == len(SEEDS)


@any_run
@any_seed
def test_actions_keep_their_distance(orders, seed):
    actions = planned(seed=seed, orders=orders)

    gap = least_gap(actions, orders=orders)

    assert gap >= 1
    assert [pair for pair in pairwise(actions) if pair[1].at - pair[0].at < gap] == []


@any_run
def test_ten_times_the_fury_is_ten_times_the_actions_at_most_and_still_leaves_room(orders):
    calm, furious = planned(orders=orders), planned(orders=orders, fury=10)

    assert len(calm) <= len(furious) <= 10.5 * len(calm)
    assert least_gap(furious, orders=orders) >= 1


@any_run
@any_seed
def test_the_first_and_the_last_orders_are_left_in_peace(orders, seed):
    actions = planned(seed=seed, orders=orders)

    assert orders * 0.03 < actions[0].at
    assert actions[-1].at < orders * 0.8


@any_run
@any_seed
def test_two_outages_are_never_side_by_side(orders, seed):
    actions = planned(seed=seed, orders=orders)

    assert [pair for pair in pairwise(actions) if all(action.kind in OUTAGES for action in pair)] == []


@any_run
@any_seed
def test_a_server_that_is_taken_down_is_one_of_ours_and_comes_back_soon(orders, seed):
    outages = [action for action in planned(seed=seed, orders=orders) if action.kind in OUTAGES]

    assert {action.target for action in outages} == set(SERVERS)
    assert max(action.seconds for action in outages) <= 5


@any_run
@any_seed
def test_however_few_the_orders_everything_but_one_kind_of_outage_is_done(orders, seed):
    kinds = {action.kind for action in planned(seed=seed, orders=orders)}

    # A server goes down at least once, in good order or not.
    assert set(Kind) - kinds <= {Kind.STOP_SERVER, Kind.KILL_SERVER}
    assert kinds & {Kind.STOP_SERVER, Kind.KILL_SERVER}


@any_seed
def test_a_long_run_kills_every_process_and_troubles_every_queue(seed):
    actions = planned(seed=seed, orders=10_000)

    killed = [action.target for action in actions if action.kind is Kind.KILL]

    assert set(killed) == set(PROCESSES)
    assert sum(target in RARE for target in killed) < len(killed) / 10
    assert {action.target for action in actions if action.kind is Kind.HOLD_BACK} == set(QUEUES)


@any_seed
def test_only_workers_have_children_to_be_killed(seed):
    children = [action for action in planned(seed=seed, orders=10_000) if action.kind is Kind.KILL_CHILD]

    assert {action.target for action in children} == {name for name in PROCESSES if name.endswith("-worker")}


def test_an_action_says_what_it_is():
    action = Action(at=10, kind=Kind.KILL_SERVER, target="rabbitmq", seconds=1.5, meanwhile=("relay",))

    assert str(action) == "server killed and started rabbitmq for 1.5 s and relay killed meanwhile"
