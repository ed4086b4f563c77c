"""Cancelling a confirmed order as its customer does, in Chromium, with every service at work behind it."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import keep_picture
from tests.browser.test_shop_in_a_browser import DESK, PHONE, SECONDS, see_finished
from tests.running_shop import PlacedOrder, RunningShop


def open_order(page: Page, order: PlacedOrder) -> None:
    page.goto(f"/orders/{order.id}/")
    expect(page.locator("[data-status]")).to_have_attribute("data-status", "confirmed")


def a_confirmed_order(shop: RunningShop, *, postcode: str = "10115") -> PlacedOrder:
    order = shop.place_order(sku="mug", quantity=2, postcode=postcode)
    shop.settle(order)
    assert order.status == "confirmed"
    return order


def step(page: Page, name: str) -> str | None:
    return page.locator(f"[data-step={name}]").get_attribute("data-state")


def fits_in_its_width(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


@pytest.mark.parametrize(("device", "name"), [(DESK, "desk"), (PHONE, "phone")])
def test_an_order_is_cancelled_and_watched_until_it_is_paid_back(
    shop: RunningShop, open_page: Callable[..., Page], device: dict, name: str
) -> None:
    order = a_confirmed_order(shop)
    page = open_page(**device)
    open_order(page, order)

    page.get_by_role("link", name="Cancel this order").click()
    expect(page.get_by_role("heading", name="Cancel your order?")).to_be_visible()
    expect(page.get_by_text("We give €25.00 back to your card")).to_be_visible()
    assert fits_in_its_width(page)
    keep_picture(page, f"cancel-{name}")
    page.get_by_role("button", name="Yes, cancel this order").click()
    page.wait_for_url(f"**/orders/{order.id}/")
    see_finished(page, "refunded")

    expect(page.get_by_text("€25.00 has been given back to your card")).to_be_visible()
    assert [step(page, each) for each in ("recall", "refund", "restock", "refunded")] == ["done"] * 4
    expect(page.get_by_role("link", name="Cancel this order")).to_have_count(0)
    assert fits_in_its_width(page)
    keep_picture(page, f"refunded-{name}")
    assert order.status == "refunded"


def test_an_order_whose_parcel_has_left_is_seen_to_stay_confirmed(
    shop: RunningShop, open_page: Callable[..., Page]
) -> None:
    order = a_confirmed_order(shop, postcode="99999")
    page = open_page(**DESK)
    open_order(page, order)

    page.get_by_role("link", name="Cancel this order").click()
    page.get_by_role("button", name="Yes, cancel this order").click()
    page.wait_for_url(f"**/orders/{order.id}/")

    expect(page.get_by_role("heading", name="Your order could not be cancelled")).to_be_visible(
        timeout=60 * SECONDS
    )
    assert step(page, "recall") == "refused"
    expect(page.get_by_role("link", name="Cancel this order")).to_have_count(0)
    keep_picture(page, "cancellation-refused-desk")
    assert (order.status, order.reason) == ("confirmed", "shipment_left")


def test_it_can_be_thought_better_of_by_keyboard(shop: RunningShop, open_page: Callable[..., Page]) -> None:
    order = a_confirmed_order(shop)
    page = open_page(**DESK)
    open_order(page, order)

    page.get_by_role("link", name="Cancel this order").focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Yes, cancel this order").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="No, keep it")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/orders/{order.id}/")

    assert order.status == "confirmed"


def test_two_tabs_and_a_double_click_cancel_once(shop: RunningShop, open_page: Callable[..., Page]) -> None:
    from sagas.models import SagaRecord

    order = a_confirmed_order(shop)
    first, second = open_page(**DESK), open_page(**DESK)
    for page in (first, second):
        page.goto(f"/orders/{order.id}/cancel/")

    first.get_by_role("button", name="Yes, cancel this order").dblclick()
    second.get_by_role("button", name="Yes, cancel this order").click()
    for page in (first, second):
        page.wait_for_url(f"**/orders/{order.id}/")
        expect(page.locator("[data-status]")).to_have_attribute(
            "data-status", "refunded", timeout=60 * SECONDS
        )

    assert SagaRecord.objects.filter(correlation_id=str(order.id), name="refund").count() == 1


def test_an_order_is_cancelled_without_javascript(shop: RunningShop, open_page: Callable[..., Page]) -> None:
    order = a_confirmed_order(shop)
    page = open_page(**DESK, java_script_enabled=False)
    open_order(page, order)

    page.get_by_role("link", name="Cancel this order").click()
    page.get_by_role("button", name="Yes, cancel this order").click()
    page.wait_for_url(f"**/orders/{order.id}/")

    # The page asks for itself anew every three seconds.
    expect(page.locator("[data-status]")).to_have_attribute("data-status", "refunded", timeout=60 * SECONDS)
