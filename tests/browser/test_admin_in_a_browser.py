"""The admin's pages in a real browser: on a phone, by keyboard, and without a word from the security policy."""

from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Page

from tests.browser.conftest import keep_picture

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
THUMB = 44


@pytest.fixture
def signed_in(shop, open_page):
    """Opens the admin as somebody who may do everything."""
    name, password = f"operator-{uuid4().hex[:8]}", uuid4().hex
    User.objects.create_superuser(name, password=password)

    def signed_in_(**options: object) -> Page:
        page = open_page(**options)
        page.goto(reverse("admin:index"))
        page.fill("#id_username", name)
        page.fill("#id_password", password)
        page.click("input[type=submit]")
        page.wait_for_selector("#dashboard")
        return page

    return signed_in_


def lists() -> list[str]:
    return [
        reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        for model in admin.site._registry
    ]


@pytest.mark.parametrize("options", [PHONE, {"color_scheme": "dark"}], ids=["phone", "dark"])
def test_every_list_fits_the_screen_and_keeps_the_security_policy(signed_in, options):
    page = signed_in(**options)
    width = page.viewport_size["width"]
    keep_picture(page, f"admin-{'phone' if options is PHONE else 'dark'}")

    for address in (reverse("admin:index"), reverse("admin:password_change"), *lists()):
        answer = page.goto(address)

        assert answer.ok, address
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address


def test_buttons_on_a_phone_are_big_enough_for_a_thumb(signed_in):
    page = signed_in(**PHONE)

    for element in page.query_selector_all("#refresh, #pause, nav.rooms a"):
        assert element.bounding_box()["height"] >= THUMB * 0.9, element.inner_text()


def test_the_first_page_keeps_itself_fresh_and_whoever_reads_it_where_he_is(signed_in):
    page = signed_in(viewport={"width": 1280, "height": 900})
    page.focus("text=Sagas >> nth=1")
    before = page.inner_text("#freshness")

    page.wait_for_function("was => document.getElementById('freshness').innerText !== was", arg=before)

    assert page.evaluate("document.activeElement.textContent") == "Sagas"
    assert page.inner_text("#dashboard .verdict")


def test_somebody_who_was_signed_out_is_told_instead_of_shown_old_figures(signed_in):
    page = signed_in()
    page.context.clear_cookies()

    page.wait_for_function("() => document.getElementById('refreshing').innerText.includes('not signed in')")


def test_the_keyboard_comes_to_the_content_first_and_sees_where_it_is(signed_in):
    page = signed_in()

    page.keyboard.press("Tab")

    assert page.evaluate("document.activeElement.className") == "skip-to-content-link"
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_without_a_script_the_first_page_is_whole_and_has_a_link_that_refreshes_it(signed_in):
    page = signed_in(java_script_enabled=False)

    assert page.is_visible("#refresh")
    assert not page.is_visible("#pause")
    assert page.is_visible("text=Queues: messages that are to be handled")
