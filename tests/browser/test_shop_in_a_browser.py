"""The shop as a customer sees it, in Chromium, with every service at work behind it."""

from collections.abc import Callable
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import keep_picture
from tests.running_shop import PlacedOrder, RunningShop

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DESK = {"viewport": {"width": 1200, "height": 900}}
SECONDS = 1000


def go_to_checkout(page: Page, article: str = "Everyday mug") -> None:
    page.goto("/")
    page.get_by_role("link", name=article).first.click()
    page.get_by_role("button", name="Put in cart").click()
    page.goto("/checkout/")


def fill_in(page: Page, *, postcode: str = "SW1Y 4JH") -> None:
    page.get_by_label("Name", exact=False).first.fill("Ada Lovelace")
    page.get_by_label("E-mail", exact=False).first.fill("ada@example.com")
    page.locator("[name=line1]").fill("12 St James's Square")
    page.locator("[name=city]").fill("London")
    page.locator("[name=postcode]").fill(postcode)
    page.locator("[name=country]").select_option("GB")


def place_order(page: Page) -> PlacedOrder:
    page.get_by_role("button", name="Place order").click()
    page.wait_for_url("**/orders/**")
    return PlacedOrder(UUID(page.url.rstrip("/").rsplit("/", 1)[1]))


def see_finished(page: Page, status: str) -> None:
    """The page shows the end of the order without having been loaded again."""
    page.evaluate("window.wasNotReloaded = true")
    expect(page.locator("[data-status]")).to_have_attribute("data-status", status, timeout=60 * SECONDS)
    assert page.evaluate("window.wasNotReloaded") is True


@pytest.mark.parametrize(("device", "name"), [(DESK, "desk"), (PHONE, "phone")])
def test_a_mug_is_ordered_and_watched_until_it_is_confirmed(
    shop: RunningShop, open_page: Callable[..., Page], device: dict, name: str
) -> None:
    page = open_page(**device)
    go_to_checkout(page)
    fill_in(page)
    page.locator("#card-tok_visa").check()
    keep_picture(page, f"checkout-{name}")

    order = place_order(page)
    see_finished(page, "confirmed")

    keep_picture(page, f"confirmed-{name}")
    assert order.status == "confirmed"
    expect(page.get_by_text("has been taken from your card")).to_be_visible()


def test_a_declined_cards_order_is_seen_cancelled(shop: RunningShop, open_page: Callable[..., Page]) -> None:
    page = open_page(**DESK)
    go_to_checkout(page)
    fill_in(page)
    page.locator("#card-tok_declined").check()

    order = place_order(page)
    see_finished(page, "cancelled")

    keep_picture(page, "declined-desk")
    assert order.reason == "card_declined"


def test_a_typed_card_number_goes_to_the_gateway_alone(
    shop: RunningShop, open_page: Callable[..., Page]
) -> None:
    page = open_page(**DESK)
    sent_to_shop: list[str] = []
    page.on(
        "request",
        lambda request: (
            sent_to_shop.append(request.post_data or "") if request.url.startswith(shop.url) else None
        ),
    )
    go_to_checkout(page)
    fill_in(page)
    page.locator("#card-own").check()
    page.locator("#card-number").fill("4242 4242 4242 4242")
    page.locator("#card-expiry").fill("12/30")
    page.locator("#card-cvc").fill("123")

    order = place_order(page)
    see_finished(page, "confirmed")

    assert order.status == "confirmed"
    assert not any("4242" in body.replace("+", "").replace("%20", "") for body in sent_to_shop)


def test_everything_works_without_javascript(shop: RunningShop, open_page: Callable[..., Page]) -> None:
    page = open_page(**DESK, java_script_enabled=False)
    go_to_checkout(page)
    fill_in(page)
    page.locator("#card-tok_visa").check()

    order = place_order(page)
    shop.settle(order)
    page.reload()

    expect(page.locator("[data-status]")).to_have_attribute("data-status", "confirmed")


def test_a_wrong_form_is_shown_again_with_what_was_typed(
    shop: RunningShop, open_page: Callable[..., Page]
) -> None:
    page = open_page(**PHONE)
    go_to_checkout(page)
    fill_in(page)
    page.locator("[name=email]").fill("not an address")
    page.locator("#card-tok_visa").check()

    page.get_by_role("button", name="Place order").click()

    expect(page.get_by_role("alert").first).to_be_visible()
    expect(page.locator("[name=name]")).to_have_value("Ada Lovelace")
    keep_picture(page, "form-wrong-phone")


def test_a_double_click_makes_one_order(shop: RunningShop, open_page: Callable[..., Page]) -> None:
    from orders.models import Order

    page = open_page(**DESK)
    go_to_checkout(page)
    fill_in(page)
    page.locator("#card-tok_visa").check()
    before = Order.objects.count()

    page.get_by_role("button", name="Place order").dblclick()
    page.wait_for_url("**/orders/**")

    assert Order.objects.count() == before + 1
