import socket

import pytest

from launcher import ports
from launcher.errors import UsageError


def test_the_default_port_is_taken_when_it_is_free():
    assert ports.choose("PORT", {}, default=8000, free=lambda port: True) == 8000


def test_the_next_free_port_is_taken_when_the_default_is_not():
    assert ports.choose("PORT", {}, default=8000, free=lambda port: port > 8002) == 8003


def test_a_port_that_was_asked_for_is_never_replaced():
    with pytest.raises(UsageError, match="PORT=8000 is taken") as raised:
        ports.choose("PORT", {"PORT": "8000"}, default=8000, free=lambda port: False)

    assert raised.value.exit_code == 2


@pytest.mark.parametrize("nonsense", ["eighty", "-1", "0", "65536", "80.5"])
def test_what_is_no_port_is_refused_by_name(nonsense: str):
    with pytest.raises(UsageError, match="FLOWER_PORT"):
        ports.choose("FLOWER_PORT", {"FLOWER_PORT": nonsense}, default=5555, free=lambda port: True)


def test_having_no_port_at_all_is_said():
    with pytest.raises(UsageError, match="No port from 8000"):
        ports.choose("PORT", {}, default=8000, free=lambda port: False)


def test_a_port_that_someone_listens_on_is_not_free():
    with socket.create_server((ports.LOOPBACK, 0)) as server:
        port = server.getsockname()[1]

        assert not ports.is_free(port)
        assert ports.is_answering(port)

    assert ports.is_free(port)
    assert not ports.is_answering(port)
