"""How many letters wait is told in many places. All of them say the same."""

import io
import json
import re

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from deadletters import tallies
from deadletters.filtering import LetterFilter
from deadletters.models import DeadLetter
from messaging import topology
from operations import audit, health
from tests.integration.admin.people import staff
from tests.integration.admin.records import NOON, record_letter

pytestmark = pytest.mark.django_db(databases="__all__")


def metric(name: str) -> dict[str, int]:
    page = Client().get("/metrics").content.decode()
    found = re.findall(rf'^{name}{{service="(\w+)"}} (\S+)$', page, flags=re.MULTILINE)
    return {service: int(float(value)) for service, value in found if float(value)}


def test_pages_metrics_readiness_audit_and_command_agree(broker, monkeypatch):
    monkeypatch.setattr(audit, "books", lambda url: iter(()))
    for service, count in (("billing", 3), ("shipping", 2), ("orders", 1)):
        for _ in range(count):
            record_letter(service=service)
    DeadLetter.objects.filter(id=record_letter(service="orders").id).update(state="replaying")
    DeadLetter.objects.filter(id=record_letter(service="billing").id).update(state="resolved", closed_at=NOON)
    record_letter(service="inventory").delete()
    truth = {
        service: count
        for service in topology.services()
        if (count := DeadLetter.objects.filter(service=service, state="open").count())
    }

    def everywhere_the_same() -> None:
        assert tallies.open_by_service() == truth
        assert metric("makegood_dead_letters_open") == truth
        assert metric("makegood_dead_letters_replaying")["orders"] >= 1
        assert {s: n for s, n in health.look()["dead_letters"].items() if n} == truth
        notes = [note for note in audit.audit().notes if note.endswith("wait for a person")]
        assert [note for note in notes if "dead letters" in note] == [
            f"{count} dead letters of {service} wait for a person" for service, count in sorted(truth.items())
        ]
        groups = io.StringIO()
        call_command("dead_letters", "groups", "--json", "--limit", "1000", stdout=groups)
        assert sum(json.loads(line)["open"] for line in groups.getvalue().splitlines()) == sum(truth.values())
        for service, count in truth.items():
            assert tallies.count(LetterFilter(state="open", service=service)).number == count
        page = staff("ada-" + str(len(seen)), "deadletters.view_deadletter").get(reverse("admin:index"))
        assert page.context["news"].open_letters == truth
        seen.append(page)

    seen: list[object] = []
    everywhere_the_same()
    tallies.fold(now=NOON)
    everywhere_the_same()
