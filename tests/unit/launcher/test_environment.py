import stat
from pathlib import Path

import pytest

from launcher import environment, instance
from launcher.errors import NotPrivate
from launcher.servers import ExternalServer, Servers

DATABASE = "postgres://someone:word@db.example:5432/shop"
BROKER = "amqp://someone:word@mq.example:5672/shop"


def servers_of(*, is_private: bool) -> Servers:
    return Servers(
        postgres=ExternalServer("postgres", DATABASE, is_private),
        rabbitmq=ExternalServer("rabbitmq", BROKER, is_private),
    )


def environment_of(root: Path, servers: Servers, given: dict[str, str]) -> dict[str, str]:
    return environment.for_services(
        instance.up(root), servers, given, gateway_port=7001, flower_port=5555, demonstration=True
    )


def test_each_service_has_its_own_database_on_a_server_of_ours(tmp_path: Path):
    made = environment_of(tmp_path, servers_of(is_private=True), {})

    assert made["BILLING_DATABASE_URL"] == "postgres://someone:word@db.example:5432/makegood_billing"
    assert made["GATEWAY_URL"] == "http://127.0.0.1:7001"


def test_services_share_the_database_that_was_given(tmp_path: Path):
    made = environment_of(
        tmp_path, servers_of(is_private=False), {"ORDERS_DATABASE_URL": "postgres://orders"}
    )

    assert made["DATABASE_URL"] == DATABASE
    assert "BILLING_DATABASE_URL" not in made
    assert made["ORDERS_DATABASE_URL"] == "postgres://orders"


def test_secrets_are_random_and_stay(tmp_path: Path):
    first = environment_of(tmp_path, servers_of(is_private=True), {})
    again = environment_of(tmp_path, servers_of(is_private=True), {})
    elsewhere = environment_of(tmp_path / "elsewhere", servers_of(is_private=True), {})

    assert first["SECRET_KEY"] == again["SECRET_KEY"] != elsewhere["SECRET_KEY"]


def test_what_was_written_is_read_again_and_by_its_owner_only(tmp_path: Path):
    path = tmp_path / "services.env"
    made = {"SECRET_KEY": "a=b", "BROKER_URL": BROKER}

    environment.write(path, made)

    assert environment.read(path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "kill"])
def test_a_server_that_was_given_is_never_touched(verb: str):
    with pytest.raises(NotPrivate, match="postgres was given by its URL"):
        getattr(servers_of(is_private=False).postgres, verb)()
