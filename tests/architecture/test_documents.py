"""What the documents point to exists, and the field's terms are each defined once."""

import re
from pathlib import Path
from urllib.parse import urldefrag

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
SOURCE_FOLDERS = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"tests", "docs"}
TERMS = """
command
event
compensation
saga
step
pivot
outbox
relay
stream
version
position
projection
snapshot
redrive
orchestrator
choreography
topology
envelope
barrier
idempotency key
dead letter
poison message
consumer group
circuit breaker
correlation id
causation id
unit of work
""".strip().splitlines()

documents = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


@documents
def test_links_lead_somewhere(document):
    targets = re.findall(r"\]\(([^)\s]+)\)", document.read_text())
    files = [urldefrag(target).url for target in targets if "://" not in target]

    assert [file for file in files if file and not (document.parent / file).exists()] == []


@documents
def test_files_that_are_named_exist(document):
    named = re.findall(r"`([a-z_]+/[\w./-]*\.(?:py|md|txt|yml|js|html))`", document.read_text())
    ours = [name for name in named if name.split("/")[0] in SOURCE_FOLDERS]

    assert [name for name in ours if not (ROOT / name).exists()] == []


@documents
def test_tests_that_are_named_exist(document):
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", document.read_text())

    assert [name for name in named if f"def {name}(" not in tests] == []


@documents
def test_commands_that_are_named_exist(document):
    from django.core.management import get_commands

    named = re.findall(r"manage\.py ([a-z_]+)", document.read_text())

    assert set(named) - {"..."} <= get_commands().keys()


def test_each_term_is_defined_once():
    defined = re.findall(
        r"^\*\*(.+?)\*\* — ", (ROOT / "docs" / "glossary.md").read_text(), flags=re.MULTILINE
    )

    assert len(set(defined)) == len(defined)
    assert set(TERMS) <= set(defined)


def test_every_decision_is_listed():
    listed = (ROOT / "docs" / "adr" / "README.md").read_text()

    for decision in (ROOT / "docs" / "adr").glob("0*.md"):
        number, title = decision.read_text().splitlines()[0].removeprefix("# ").split(". ", 1)
        assert f"{number}. [{title}]({decision.name})" in listed


def test_every_state_is_published():
    from billing.models import Payment
    from deadletters.models import DeadLetter, LetterEdit, LetterJob, Replay
    from inventory.models import Reservation
    from messaging.models import CircuitBreaker
    from orders.models import Order
    from sagas.state import SagaStatus, StepStatus
    from shipping.models import Shipment

    published = (ROOT / "docs" / "lifecycle.md").read_text()
    kinds = (
        *(SagaStatus, StepStatus, Order.Status, Payment.State, Reservation.State, Shipment.State),
        *(DeadLetter.State, Replay.Outcome, LetterEdit.State, LetterJob.State, CircuitBreaker.State),
    )

    assert [str(state) for kind in kinds for state in kind if not re.search(rf"\b{state}\b", published)] == []


def test_every_direct_dependency_has_its_reason():
    reasons = (ROOT / "docs" / "dependencies.md").read_text().lower()

    for file in ("requirements.in", "requirements-dev.in", "launcher/requirements.in"):
        names = re.findall(r"^([A-Za-z][\w-]*)", (ROOT / file).read_text(), flags=re.MULTILINE)
        for name in names:
            assert re.search(rf"\b{name.lower()}\b", reasons), f"docs/dependencies.md says nothing of {name}"


def test_every_process_has_its_container():
    from launcher.processes import process_table

    compose = (ROOT / "docker-compose.yml").read_text()
    processes = process_table(
        ROOT, {}, web_port=1, flower_port=2, gateway_port=3, gateway_books=ROOT / "books.sqlite3"
    )

    for name in [*(process.name for process in processes), "postgres", "rabbitmq", "set-up"]:
        assert f"\n  {name}:\n" in compose, f"docker-compose.yml has no entry {name}"


def test_the_image_holds_every_package_of_the_application():
    from django.conf import settings

    listed = (ROOT / ".dockerignore").read_text().splitlines()
    ours = {app.split(".")[0] for app in settings.INSTALLED_APPS} & {
        path.parent.name for path in ROOT.glob("*/__init__.py")
    }

    assert [
        package for package in sorted({*ours, "contracts", "simulator"}) if f"!{package}" not in listed
    ] == []


def test_every_row_of_the_failure_matrix_names_its_test():
    lines = (ROOT / "docs" / "delivery.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith("| what fails |")]

    assert len(rows) >= 30
    assert [row for row in rows if not re.search(r"`test_\w+` \|$", row)] == []


def test_every_failpoint_is_tried():
    from tests.faults.points import ELSEWHERE, POINTS

    code = "\n".join(
        path.read_text()
        for package in ("messaging", "deadletters", "sagas", "operations")
        for path in (ROOT / package).rglob("*.py")
    )

    assert set(re.findall(r'failpoint\("([\w.]+)"\)', code)) == {*POINTS, *ELSEWHERE}
