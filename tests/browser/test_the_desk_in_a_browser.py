"""An operator's day at the desk, in Chromium: a release breaks shipping, and thirty orders hang until it is mended."""

from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import Group, User
from playwright.sync_api import Page, expect

from deadletters.models import DeadLetter, DeskEntry, LetterJob, Replay
from orders.models import Order
from sagas.models import StepRecord
from tests.browser.conftest import keep_picture
from tests.running_shop import RunningShop, wait_until

DESK = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
ORDERS = 30
PASSWORD = "correct horse battery staple"
BROKEN = {"DJANGO_SETTINGS_MODULE": "tests.browser.broken_settings"}
SECONDS = 1000


@pytest.fixture
def operator(shop: RunningShop) -> Iterator[User]:
    """Somebody of the group that the desk is made for, and no superuser."""
    user = User.objects.create_user("grace", password=PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name="Operators"))
    yield user
    user.delete()


def log_in(page: Page) -> None:
    page.goto("/admin/")
    page.get_by_label("Username").fill("grace")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Operations")).to_be_visible()


def place_orders(shop: RunningShop) -> set[str]:
    """Thirty orders that nothing but shipping can keep from being confirmed."""
    return {str(shop.place_order().id) for _ in range(ORDERS)}


def dry_run(page: Page, letter: DeadLetter) -> None:
    page.goto(f"/admin/deadletters/deadletter/{letter.id}/change/")
    page.get_by_role("button", name="Dry run").first.click()
    expect(page.get_by_text("Nothing was changed or sent.")).to_be_visible()


def replay_the_group(page: Page, fingerprint: str, *, why: str) -> LetterJob:
    page.goto(f"/admin/deadletters/lettergroup/{fingerprint}/change/")
    page.get_by_role("link", name="Replay").first.click()
    keep_picture(page, "operators-6-confirmation")
    page.get_by_label("Why").fill(why)
    page.get_by_role("button", name="Replay").click()
    page.wait_for_url("**/letterjob/**")
    return LetterJob.objects.order_by("-requested_at").first()


def test_thirty_orders_hang_behind_a_broken_handler_and_are_brought_home_from_the_desk(
    shop: RunningShop, operator: User, open_page: Callable[..., Page]
) -> None:
    page = open_page(**DESK)
    with shop.running("shipping-worker", "web", **BROKEN):
        log_in(page)
        orders = place_orders(shop)
        letters = DeadLetter.objects.filter(correlation_id__in=orders, state="open")
        wait_until(lambda: letters.count() == ORDERS, what="each order's parcel to be a dead letter")
        wait_until(
            lambda: StepRecord.objects.filter(saga__business_key__in=orders, status="held").count() == ORDERS,
            what="each saga to wait for a person",
        )

        page.goto("/admin/")
        expect(page.get_by_role("status").get_by_text(f"{ORDERS} dead letters")).to_be_visible()
        keep_picture(page, "operators-1-first-page")

        page.goto("/admin/deadletters/lettergroup/?open=yes")
        fingerprint = letters.first().group_id
        expect(page.get_by_role("link", name=f"{ORDERS} open", exact=True)).to_be_visible()
        keep_picture(page, "operators-2-groups")
        page.goto(f"/admin/deadletters/lettergroup/{fingerprint}/change/")
        expect(page.get_by_text("shipping/services.py in record_booking").first).to_be_visible()
        keep_picture(page, "operators-3-group")
        page.goto(f"/admin/deadletters/deadletter/{letters.first().id}/change/")
        keep_picture(page, "operators-4-letter")

        dry_run(page, letters.first())
        expect(page.get_by_text("would fail again")).to_be_visible()
        expect(page.get_by_text("the same failure", exact=True)).to_be_visible()
        keep_picture(page, "operators-5-dry-run-fails")

        job = replay_the_group(page, fingerprint, why="perhaps it was only a moment")
        expect(page.get_by_role("heading", name="It stopped by itself")).to_be_visible(timeout=60 * SECONDS)
        keep_picture(page, "operators-7-stopped")
        assert Replay.objects.filter(job=job).count() == 1
        assert letters.count() == ORDERS
        page.goto(
            "about:blank"
        )  # a page that refreshes itself would ask a server that is just being replaced

    assert Order.objects.filter(id__in=orders, status="pending").count() == ORDERS
    dry_run(page, letters.first())
    expect(page.get_by_text("would succeed")).to_be_visible()
    keep_picture(page, "operators-7b-dry-run-succeeds")

    page.goto(f"/admin/deadletters/letterjob/{job.id}/change/")
    page.get_by_role("link", name="Resume").click()
    page.get_by_label("Why").fill("shipping is mended")
    page.get_by_role("button", name="Resume the job").click()
    page.evaluate("window.wasNotReloaded = true")
    keep_picture(page, "operators-8-under-way")
    expect(page.locator("[data-region=progress][data-state=finished]")).to_be_visible(timeout=90 * SECONDS)
    assert page.evaluate("window.wasNotReloaded") is True
    keep_picture(page, "operators-9-finished")

    shown = {order: Order.objects.get(id=order).status for order in orders}
    wait_until(
        lambda: Order.objects.filter(id__in=orders, status="confirmed").count() == ORDERS,
        what=f"the orders to be confirmed ({shown})",
    )
    assert not letters.exists()
    assert Replay.objects.filter(job=job, outcome="succeeded").count() == ORDERS
    assert list(
        DeskEntry.objects.filter(by="grace", outcome="done").order_by("id").values_list("action", "reason")
    )[-1] == ("resume", "shipping is mended")
    page.goto("/admin/")
    expect(page.get_by_role("region", name="Dead letters").get_by_text("none waits")).to_be_visible()
    keep_picture(page, "operators-10-all-is-well")
    audit = shop.audit()
    assert audit.returncode == 0, audit.stdout + audit.stderr


def test_the_desk_can_be_used_on_a_phone_and_with_the_keyboard(
    shop: RunningShop, operator: User, open_page: Callable[..., Page]
) -> None:
    page = open_page(**PHONE)
    log_in(page)
    for address in ("/admin/", "/admin/deadletters/lettergroup/", "/admin/deadletters/deadletter/"):
        page.goto(address)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["viewport"]["width"], f"{address} is {width} pixels wide"
    page.goto("/admin/deadletters/deadletter/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement !== document.body")
