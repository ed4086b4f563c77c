"""A TCP proxy that a test puts between two processes, to do to their connection what networks do.

    with Proxy(to=port_of(broker_url)) as proxy:
        relay_url = proxy.instead_of(broker_url)
        proxy.go_dark()

It runs in a thread of its own. What is told holds for every connection until `heal`; a connection that was in the
dark stays dead, as a half-open one does.
"""

import asyncio
import logging
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
_CHUNK = 65_536
_PATIENCE = 10.0

Answer = TypeVar("Answer")


def port_of(url: str) -> int:
    """The port in a URL."""
    port = urlsplit(url).port
    assert port is not None, f"{url} names no port"
    return port


class _Link:
    """One connection of a client, and ours to the server on its behalf."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.is_dark = False

    def end(self, *, with_reset: bool) -> None:
        for writer in (self.client, self.server):
            if writer is None or writer.is_closing():
                continue
            if with_reset:
                raw = writer.get_extra_info("socket")
                # Closed with bytes to be lost and no time to linger, a socket says RST and not FIN.
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxy:
    """Listens on `port` of the loopback address and passes on to the port `to`."""

    def __init__(self, *, to: int) -> None:
        self.port = 0
        self.accepted = 0
        """How many connections have been made so far."""
        self._to = to
        self._latency = 0.0
        self._is_dark = False
        self._is_refusing = False
        self._left_before_cut: int | None = None
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()

    def instead_of(self, url: str) -> str:
        """The same URL, by way of this proxy."""
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
        return parts._replace(
            netloc=f"{user}@{LOOPBACK}:{self.port}" if user else f"{LOOPBACK}:{self.port}"
        ).geturl()

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return len(self._links)

    def slow_down(self, seconds: float) -> None:
        """From now on everything takes so much longer, in each direction."""
        self._call(lambda: setattr(self, "_latency", seconds))

    def go_dark(self) -> None:
        """Connections stay open and are accepted, and nothing comes through: a black hole."""

        def darken() -> None:
            self._is_dark = True
            for link in self._links:
                link.is_dark = True

        self._call(darken)

    def reset(self) -> None:
        """End every open connection with RST; new ones are made as before."""
        self._call(lambda: self._end_all(with_reset=True))

    def cut(self, *, after: int) -> None:
        """Let so many more bytes through to the server, then end that connection: in the middle of a frame."""
        self._call(lambda: setattr(self, "_left_before_cut", after))

    def refuse(self) -> None:
        """End every connection and accept none, as where nobody listens."""

        async def refuse() -> None:
            self._is_refusing = True
            if self._server is not None:
                self._server.close()
                self._server = None
            self._end_all(with_reset=True)

        self._do(refuse())

    def heal(self) -> None:
        """From now on connections are what they should be. Those that were in the dark stay dead."""

        async def heal() -> None:
            self._latency, self._is_dark, self._left_before_cut = 0.0, False, None
            if self._is_refusing:
                self._is_refusing = False
                await self._listen()

        self._do(heal())

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._end_all(with_reset=False)
        # What is passed on ends with its connection; a task that were cancelled would complain of it.
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    def _end_all(self, *, with_reset: bool) -> None:
        for link in list(self._links):
            link.end(with_reset=with_reset)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer)
        link.is_dark = self._is_dark
        self._links.add(link)
        self.accepted += 1
        try:
            answers, link.server = await asyncio.open_connection(LOOPBACK, self._to)
            await asyncio.gather(
                self._pass_on(link, reader, link.server, is_to_server=True),
                self._pass_on(link, answers, writer, is_to_server=False),
            )
        except OSError as error:
            log.debug("%s: the server is away, so the client's connection ends: %s", self.port, error)
        finally:
            link.end(with_reset=False)
            self._links.discard(link)

    async def _pass_on(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_to_server: bool
    ) -> None:
        try:
            while data := await reader.read(_CHUNK):
                if self._latency:
                    await asyncio.sleep(self._latency)
                if link.is_dark:
                    continue
                left = self._left_before_cut if is_to_server else None
                writer.write(data if left is None else data[:left])
                await writer.drain()
                if left is not None and len(data) >= left:
                    self._left_before_cut = None
                    link.end(with_reset=False)
                    return
                if left is not None:
                    self._left_before_cut = left - len(data)
        except OSError as error:
            log.debug("%s: one side has ended the connection: %s", self.port, error)
        if not link.is_dark:
            # Nothing is kept back: whoever ends a connection ends it on both sides.
            link.client.close()
            if link.server is not None:
                link.server.close()

    def _call(self, change: Callable[[], object]) -> None:
        async def changed() -> None:
            change()

        self._do(changed())

    def _do(self, coroutine: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_PATIENCE)
