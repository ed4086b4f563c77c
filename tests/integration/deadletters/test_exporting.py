"""A letter that is exported as a test fails when that is run, as it did, until its handler is mended."""

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from contracts.billing import AuthorizePayment
from contracts.shipping import BookShipment
from deadletters.errors import Unreplayable
from deadletters.models import DeadLetter
from deadletters.rehearsals import exporting
from deadletters.rehearsals.dry_runs import handle
from messaging.errors import PermanentError
from messaging.handling import handlers_of
from tests.builders import LONDON, TWO_MUGS, authorize_payment, reserve_stock
from tests.databases import ROOT
from tests.faults.broken_reservations import reserve_nothing
from tests.integration.deadletters.rehearsed import KINDS, Story, a_letter

pytestmark = pytest.mark.usefixtures("committed")


def exported(letter: DeadLetter, folder: Path, **options: bool) -> Path:
    path = folder / f"test_letter_{letter.id.hex}.py"
    path.write_text(exporting.test_case(letter.id, **options))
    return path


def run(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The exported test beside the suite's fixtures, as somebody runs it, on databases of its own."""
    (path.parent / "conftest.py").write_text(
        "from tests.conftest import *\nfrom tests.faults.broken_reservations import *\n"
    )
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", str(path), "-q", "-p", "no:cacheprovider"),
            *("--rootdir", str(ROOT), "-c", "pyproject.toml"),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTEST_XDIST_WORKER": "export", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def is_clean(path: Path) -> bool:
    """Whether ruff has nothing to say against it where it belongs."""
    ruff = Path(sys.executable).parent / "ruff"
    name = f"tests/integration/{path.name}"
    for verb in (["check"], ["format", "--check"]):
        checked = subprocess.run(
            [ruff, *verb, "--no-cache", "--stdin-filename", name, "-"],
            cwd=ROOT,
            input=path.read_text(),
            capture_output=True,
            text=True,
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
    return True


def test_an_exported_letter_fails_when_it_is_run_until_its_handler_is_mended(tmp_path):
    letter = a_letter("inventory", reserve_stock(uuid4()))
    path = exported(letter, tmp_path)

    broken = run(path, BROKEN_RESERVATIONS="1")
    mended = run(path)

    assert broken.returncode == 1, broken.stdout + broken.stderr
    assert "messaging.errors.PermanentError: the shelf is gone" in broken.stdout
    assert "1 failed" in broken.stdout
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert "1 passed" in mended.stdout


@pytest.mark.parametrize("kind", ["reserve stock", "authorize", "ship", "e-mail of confirmation", "confirm"])
@pytest.mark.parametrize("with_personal_data", [False, True])
def test_what_is_exported_is_clean_code(tmp_path, gateway, kind, with_personal_data):
    letter = KINDS[kind].letter()

    path = exported(letter, tmp_path, with_personal_data=with_personal_data)

    assert is_clean(path)
    compile(path.read_text(), str(path), "exec")


@pytest.mark.parametrize(
    "name", ['"""', "\\", '\\"', "'''", "{name}", "x" * 300, "\u202eevil", "Zoë\n", "\x07", '"']
)
def test_whatever_stands_in_a_message_the_code_is_clean_and_says_the_same(tmp_path, name):
    story = Story()
    command = BookShipment(
        order_id=story.order_id,
        ship_to=type(LONDON)(name=name, line1=name, city=name, postcode="1", country="GB"),
        lines=TWO_MUGS,
    )
    letter = a_letter("shipping", command)
    DeadLetter.objects.filter(id=letter.id).update(exception=f"Error {name}: {name}")

    path = exported(letter, tmp_path, with_personal_data=True)

    assert is_clean(path)
    module: dict[str, object] = {}
    exec(compile(path.read_text(), str(path), "exec"), module)
    assert json.loads(str(module["BODY"])) == json.loads(bytes(letter.body))


def test_personal_data_is_disguised_in_a_form_that_keeps_the_schema():
    story = Story()
    for service, message, message_type in (
        ("shipping", story.shipment(), BookShipment),
        ("billing", authorize_payment(story.order_id), AuthorizePayment),
    ):
        source = exporting.test_case(a_letter(service, message).id)

        for secret in ("Ada", "Lovelace", "James", "London", "tok_visa"):
            assert secret not in source
        assert "is disguised" in source
        (payload,), *_ = json.loads(source.split('BODY = r"""')[1].split('"""')[0])
        assert message_type.from_payload(payload).order_id == story.order_id
        with_all = exporting.test_case(a_letter(service, message).id, with_personal_data=True)
        assert "is disguised" not in with_all


def test_a_message_without_personal_data_is_exported_as_it_is():
    letter = a_letter("inventory", reserve_stock(uuid4()))

    source = exporting.test_case(letter.id)

    assert "is disguised" not in source
    assert str(letter.correlation_id) in source


def test_a_letter_that_is_no_message_has_nothing_to_run():
    letter = a_letter("inventory", body=b"\xff")

    with pytest.raises(Unreplayable, match="There is nothing to run as a test"):
        exporting.test_case(letter.id)


def test_what_an_exported_test_calls_raises_the_handlers_own_error(monkeypatch):
    letter = a_letter("inventory", reserve_stock(uuid4()))
    declared = handlers_of("inventory")[letter.type]
    broken = msgspec.structs.replace(declared, run=reserve_nothing)
    monkeypatch.setitem(handlers_of("inventory"), letter.type, broken)

    with pytest.raises(PermanentError, match="the shelf is gone"):
        handle(letter.service, letter.headers, bytes(letter.body))
