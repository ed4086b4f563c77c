import pytest

from launcher.compose import Engine
from launcher.errors import LauncherError
from launcher.sources import Source, choose_source

ANSWERS = Engine(("docker", "compose"), "Docker's engine answers")
SILENT = Engine(None, "Docker's engine does not answer")


def choose(*, given: str = "", remembered: str | None = None, engine: Engine = SILENT) -> Source:
    return choose_source(
        variable="BROKER_URL", environment={"BROKER_URL": given}, remembered=remembered, engine=engine
    )


def test_a_given_url_wins_over_everything():
    source = choose(given="amqp://elsewhere", remembered="private", engine=ANSWERS)

    assert source.kind == "external"
    assert "BROKER_URL is set" in source.reason


def test_compose_is_used_where_an_engine_answers():
    assert choose(engine=ANSWERS) == Source("compose", "Docker's engine answers")


def test_a_private_server_is_used_where_none_answers_and_the_reason_is_told():
    assert choose(engine=SILENT) == Source("private", "Docker's engine does not answer")


def test_data_of_the_last_time_is_not_left_behind_when_docker_appears():
    assert choose(remembered="private", engine=ANSWERS).kind == "private"


def test_data_in_a_docker_volume_is_not_replaced_by_an_empty_server():
    assert choose(remembered="compose", engine=ANSWERS).kind == "compose"
    with pytest.raises(LauncherError, match="Docker's engine does not answer"):
        choose(remembered="compose", engine=SILENT)
