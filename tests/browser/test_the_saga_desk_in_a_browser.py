"""A day at the saga desk, in Chromium: orders are held back and go on, and one that cannot be finished is undone."""

from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone
from playwright.sync_api import Page, expect

from deadletters.models import DeskEntry
from orders.models import Order
from sagas.models import PauseSwitch, SagaRecord
from tests.browser.conftest import keep_picture
from tests.running_shop import PlacedOrder, RunningShop, wait_until

DESK = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
PASSWORD = "correct horse battery staple"
BROKEN = {"DJANGO_SETTINGS_MODULE": "tests.browser.broken_settings"}
SECONDS = 1000


@pytest.fixture
def operator(shop: RunningShop) -> Iterator[User]:
    user = User.objects.create_user("olga", password=PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name="Operators"))
    yield user
    PauseSwitch.objects.filter(lifted_at=None).update(lifted_at=timezone.now(), lifted_by="the test")
    user.delete()


def log_in(page: Page) -> None:
    page.goto("/admin/")
    page.get_by_label("Username").fill("olga")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Operations")).to_be_visible()


def saga_of(order: PlacedOrder) -> SagaRecord:
    return SagaRecord.objects.get(business_key=str(order.id), name="checkout")


def open_saga(page: Page, order: PlacedOrder) -> None:
    page.goto(f"/admin/sagas/sagarecord/{saga_of(order).id}/change/")


def test_orders_wait_while_a_service_is_held_back_and_go_on_when_the_switch_is_lifted(
    shop: RunningShop, operator: User, open_page: Callable[..., Page]
) -> None:
    page = open_page(**DESK)
    log_in(page)
    page.goto("/admin/sagas/pauseswitch/set/")
    page.get_by_label("What").select_option("service:shipping")
    page.get_by_label("Why").fill("The carrier moves house")
    keep_picture(page, "sagas-1-set-a-switch")
    page.get_by_role("button", name="Set the switch").click()
    expect(page.get_by_text("service shipping (The carrier moves house)")).to_be_visible()

    orders = [shop.place_order() for _ in range(3)]
    held_back = SagaRecord.objects.filter(
        business_key__in=[str(order.id) for order in orders], is_withheld=True
    )
    wait_until(lambda: held_back.count() == 3, what="the sagas to be held back")
    page.goto("/admin/sagas/sagarecord/?attention=withheld")
    expect(page.locator("#result_list tbody tr")).to_have_count(3)
    keep_picture(page, "sagas-2-held-back")
    open_saga(page, orders[0])
    expect(page.get_by_text("A pause switch holds back what it would send next.")).to_be_visible()
    keep_picture(page, "sagas-3-a-saga-held-back")
    page.evaluate("window.wasNotReloaded = true")

    other = page.context.new_page()
    other.goto("/admin/sagas/pauseswitch/?lifted_at_is=null")
    other.get_by_role("link", name="Lift…").click()
    other.get_by_role("button", name="Lift the switch").click()
    expect(other.get_by_text("3 sagas go on")).to_be_visible()
    other.close()

    page.bring_to_front()
    expect(page.locator("#saga").get_by_text("Everything was done.")).to_be_visible(timeout=30 * SECONDS)
    expect(page.get_by_text("Held back by pause switches")).to_be_hidden()
    assert page.evaluate("window.wasNotReloaded") is True
    keep_picture(page, "sagas-4-done")
    shop.settle(*orders)
    assert {order.status for order in orders} == {"confirmed"}
    assert not PauseSwitch.objects.filter(lifted_at=None).exists()


def test_an_order_that_cannot_be_finished_is_seen_understood_and_undone(
    shop: RunningShop, operator: User, open_page: Callable[..., Page]
) -> None:
    page = open_page(**DESK)
    with shop.running("shipping-worker", **BROKEN):
        log_in(page)
        order = shop.place_order()
        wait_until(
            lambda: SagaRecord.objects.filter(business_key=str(order.id), needs_a_person=True).exists(),
            what="the saga to need a person",
        )
        page.goto("/admin/sagas/sagarecord/?attention=person")
        page.locator("#result_list tbody th a").first.click()
        expect(
            page.get_by_text("nobody knows whether it had its effect: a person has to decide")
        ).to_be_visible()
        keep_picture(page, "sagas-5-needs-a-person")
        page.get_by_role("link", name="What each service holds").click()
        expect(page.get_by_text("authorized: 12.50 EUR")).to_be_visible()
        keep_picture(page, "sagas-6-what-each-service-holds")

    open_saga(page, order)
    page.get_by_role("link", name="Cancel…").click()
    expect(page.get_by_text("shipping.cancel_shipment.v1")).to_be_visible()
    page.get_by_role("button", name="Cancel the saga").click()
    expect(page.get_by_role("alert").get_by_text("A reason is missing")).to_be_visible()
    page.get_by_label("Why").fill("The carrier will not take it")
    keep_picture(page, "sagas-7-cancel")
    page.get_by_role("button", name="Cancel the saga").click()

    expect(page.locator("#saga").get_by_text("It ended undone")).to_be_visible(timeout=30 * SECONDS)
    expect(page.get_by_text("The carrier will not take it").first).to_be_visible()
    keep_picture(page, "sagas-8-undone")
    assert Order.objects.get(id=order.id).status == "cancelled"
    assert all(charge["captured"] == 0 for charge in shop.charges(order))
    entry = DeskEntry.objects.get(saga_id=saga_of(order).id)
    assert (entry.by, entry.action, entry.outcome) == ("olga", "cancel", "done")


def test_the_saga_desk_can_be_used_on_a_phone(
    shop: RunningShop, operator: User, open_page: Callable[..., Page]
) -> None:
    order = shop.place_order()
    shop.settle(order)
    page = open_page(**PHONE)
    log_in(page)
    saga = saga_of(order)
    for address in (
        "/admin/sagas/sagarecord/",
        f"/admin/sagas/sagarecord/{saga.id}/change/",
        f"/admin/sagas/sagarecord/{saga.id}/held/",
        "/admin/sagas/pauseswitch/",
        "/admin/sagas/pauseswitch/set/",
    ):
        page.goto(address)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["viewport"]["width"], f"{address} is {width} pixels wide"
    page.goto(f"/admin/sagas/sagarecord/{saga.id}/change/")
    expect(page.locator("svg.saga-diagram.upright")).to_be_visible()
    expect(page.locator("svg.saga-diagram.lying")).to_be_hidden()
    keep_picture(page, "sagas-9-phone")
