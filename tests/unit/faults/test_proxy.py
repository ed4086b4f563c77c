"""The proxy does to a connection what it says, and to no other."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import LOOPBACK, Proxy


class Echo:
    """A server that sends back what it gets, and keeps it."""

    def __init__(self) -> None:
        self.received = b""
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65_536):
                    self.received += data
                    connection.sendall(data)
            except OSError:
                return

    def close(self) -> None:
        if self._listener.fileno() != -1:
            self._listener.shutdown(socket.SHUT_RDWR)  # `accept` in the thread would keep it open
            self._listener.close()
        for connection in self._open:
            connection.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(to=echo.port) as proxy:
        yield proxy


def connect(proxy: Proxy, *, timeout: float = 10) -> socket.socket:
    return socket.create_connection((LOOPBACK, proxy.port), timeout=timeout)


def ask(connection: socket.socket, question: bytes) -> bytes:
    connection.sendall(question)
    answer = b""
    while len(answer) < len(question):
        part = connection.recv(65_536)
        if not part:
            break
        answer += part
    return answer


def is_ended(connection: socket.socket) -> bool:
    """Whether the other side has ended it, in good order or not."""
    try:
        while connection.recv(65_536):
            continue
    except ConnectionResetError:
        return True
    return True


def test_it_passes_on_both_ways_for_many_connections(proxy: Proxy) -> None:
    connections = [connect(proxy) for _ in range(20)]

    assert [ask(connection, b"%d" % number * 1000) for number, connection in enumerate(connections)] == [
        b"%d" % number * 1000 for number in range(20)
    ]
    assert proxy.connections == proxy.accepted == 20
    for connection in connections:
        connection.close()


def test_latency_is_added_in_each_direction(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        proxy.slow_down(0.2)
        begun = time.monotonic()

        assert ask(connection, b"hello") == b"hello"
        assert time.monotonic() - begun >= 0.4


def test_nothing_comes_out_of_the_dark_and_what_was_in_it_stays_dead(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy, timeout=0.3) as before:
        assert ask(before, b"first") == b"first"
        proxy.go_dark()
        with connect(proxy, timeout=0.3) as meanwhile:
            for connection in (before, meanwhile):
                with pytest.raises(TimeoutError):
                    ask(connection, b"lost")
            proxy.heal()
            with pytest.raises(TimeoutError):
                ask(before, b"lost")
    with connect(proxy) as after:
        assert ask(after, b"second") == b"second"
    assert echo.received == b"firstsecond"


def test_a_reset_is_a_reset(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        ask(connection, b"hello")
        proxy.reset()

        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with connect(proxy) as another:
        assert ask(another, b"again") == b"again"


def test_a_cut_lets_so_many_bytes_through_and_happens_once(proxy: Proxy, echo: Echo) -> None:
    with connect(proxy) as connection:
        proxy.cut(after=7)
        connection.sendall(b"half a frame")

        assert is_ended(connection)
    assert echo.received in (b"half a ", b"")
    with connect(proxy) as another:
        assert ask(another, b"a whole frame") == b"a whole frame"


def test_where_it_refuses_nobody_listens(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        ask(connection, b"hello")
        port = proxy.port
        proxy.refuse()

        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
    proxy.heal()

    assert proxy.port == port
    with connect(proxy) as another:
        assert ask(another, b"again") == b"again"


def test_a_server_that_is_away_ends_the_connection(proxy: Proxy, echo: Echo) -> None:
    echo.close()

    with connect(proxy) as connection:
        assert is_ended(connection)


def test_a_url_leads_by_way_of_it(proxy: Proxy) -> None:
    assert proxy.instead_of("amqp://user:secret@127.0.0.1:5672/vhost") == (
        f"amqp://user:secret@127.0.0.1:{proxy.port}/vhost"
    )
    assert proxy.instead_of("http://127.0.0.1:80/") == f"http://127.0.0.1:{proxy.port}/"
