"""Ending what runs, in order: the shop's processes first, then the servers they need."""

import shutil
import signal
from collections.abc import Callable
from contextlib import ExitStack

from launcher import postgres, rabbitmq
from launcher.compose import ComposeServer
from launcher.errors import LauncherError
from launcher.identity import end_group
from launcher.instance import LAUNCHER, Instance
from launcher.interruption import wait_until
from launcher.postgres import PrivatePostgres
from launcher.rabbitmq import PrivateRabbitmq

HOLDER_GRACE = 120
SERVERS = (rabbitmq.NAME, rabbitmq.EPMD, postgres.NAME)


def end_leftovers(instance: Instance, *, explain: Callable[[str], None]) -> None:
    """Afterwards nothing of an instance runs. Only for who holds the instance."""
    state = instance.state
    record = state.read()
    left = {name: who for name, who in record.running.items() if name not in (LAUNCHER, *SERVERS)}
    alive = [name for name, who in left.items() if who.group()]
    if alive:
        explain(f"ending what was left behind: {', '.join(alive)}")
    for who in left.values():
        who.signal(signal.SIGTERM)
    for name, who in left.items():
        end_group(who, grace=15)
        state.remember(name, None)
    stop_servers(instance)


def stop_servers(instance: Instance) -> None:
    """Stop the servers of an instance that are ours; those given by a URL are left alone."""
    record = instance.state.read()
    private: dict[str, type[PrivateRabbitmq] | type[PrivatePostgres]] = {
        rabbitmq.NAME: PrivateRabbitmq,
        postgres.NAME: PrivatePostgres,
    }
    for name, kind in private.items():
        known = record.servers.get(name, {})
        if known.get("source") == "private":
            kind.from_state(instance.state).stop()
        elif known.get("source") == "compose" and "given_url" not in known:
            ComposeServer.from_state(name, instance.state).stop()


def stop_instance(instance: Instance, *, explain: Callable[[str], None]) -> None:
    """End a running launcher in good order, then whatever it or a killed one left behind.

    Raises LauncherError when it does not end.
    """
    if not instance.directory.exists():
        return
    holder = instance.holder()
    if holder is not None:
        explain(f"asking pid {holder.pid} to stop")
        holder.signal(signal.SIGTERM)
        if not wait_until(lambda: not holder.is_alive(), timeout=HOLDER_GRACE):
            raise LauncherError(
                f"The launcher (pid {holder.pid}) did not stop within {HOLDER_GRACE} s. "
                f"Type: kill -9 {holder.pid}; make down"
            )
    with instance.held():
        end_leftovers(instance, explain=explain)


def remove(up: Instance, *others: Instance, explain: Callable[[str], None]) -> None:
    """Stop the shop and remove .dev/ with all that is stored. Refuses while a test run holds its servers."""
    stop_instance(up, explain=explain)
    with ExitStack() as held:
        for instance in (up, *others):
            held.enter_context(instance.held())
        for instance in (up, *others):
            end_leftovers(instance, explain=explain)
            remove_stored(instance)
        shutil.rmtree(up.directory.parent)


def remove_stored(instance: Instance) -> None:
    """Remove the data of an instance's servers, which do not run, where it lies outside the instance's folder."""
    for name in (postgres.NAME, rabbitmq.NAME):
        if instance.state.read().servers.get(name, {}).get("source") == "compose":
            ComposeServer.from_state(name, instance.state).remove()
    postgres.remove_data(instance.state)
