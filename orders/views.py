"""Catalogue, cart and checkout."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import cache_control
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST, require_safe

from orders.cart import MOST_ARTICLES, MOST_PIECES, Cart, CartFull, read_cart, write_cart
from orders.errors import CheckoutKeyReused, InvalidOrder
from orders.forms import CheckoutForm, Lines, QuantityForm, format_lines, parse_lines
from orders.models import Checkout, Product
from orders.presentation import TEST_CARDS, TEST_TOKENS, Article, Bill
from orders.services import place_order


@require_safe
def catalogue(request: HttpRequest) -> HttpResponse:
    articles = [Article.of(product) for product in Product.objects.filter(is_listed=True)]
    return page(request, "orders/catalogue.html", {"articles": articles})


@require_safe
def article(request: HttpRequest, sku: str) -> HttpResponse:
    return _article_page(request, sku, QuantityForm(initial={"sku": sku}))


@require_POST
def add_to_cart(request: HttpRequest) -> HttpResponse:
    form = QuantityForm(request.POST)
    if not form.is_valid():
        return _article_page(request, form.data.get("sku", ""), form, status=422)
    sku, wanted = form.cleaned_data["sku"], form.cleaned_data["quantity"]
    product = Product.objects.filter(sku=sku, is_listed=True).first()
    if product is None:
        raise Http404(f"There is no article {sku!r} in the catalogue.")
    cart = read_cart(request)
    response = redirect("orders:cart")
    try:
        changed = cart.with_quantity(sku, cart.quantity_of(sku) + wanted)
    except CartFull:
        messages.error(request, f"A cart holds at most {MOST_ARTICLES} different articles.")
        return response
    if cart.quantity_of(sku) + wanted > MOST_PIECES:
        messages.warning(request, f"We sell at most {MOST_PIECES} of one article in one order.")
    else:
        messages.success(request, f"{product.name} is in your cart.")
    write_cart(response, changed)
    return response


@require_POST
def change_cart(request: HttpRequest) -> HttpResponse:
    """Set the quantities that the cart page sent; `remove` names an article to take out."""
    cart = changed = read_cart(request)
    for sku, quantity in cart.lines:
        form = QuantityForm({"sku": sku, "quantity": request.POST.get(f"quantity-{sku}", quantity)})
        if sku == request.POST.get("remove") or form.data["quantity"] == "0":
            changed = changed.with_quantity(sku, 0)
        elif form.is_valid():
            changed = changed.with_quantity(sku, form.cleaned_data["quantity"])
        else:
            messages.error(request, f"{form.errors['quantity'][0]} We left that line as it was.")
    response = redirect("orders:checkout" if "checkout" in request.POST and changed.lines else "orders:cart")
    write_cart(response, changed)
    return response


@require_safe
@cache_control(private=True, no_cache=True)
def cart(request: HttpRequest) -> HttpResponse:
    chosen = read_cart(request)
    bill = _bill(chosen.lines)
    for sku in bill.missing:
        chosen = chosen.with_quantity(sku, 0)
    response = page(
        request, "orders/cart.html", {"bill": bill, "most_pieces": MOST_PIECES, "cart": chosen}, cart=chosen
    )
    if bill.missing or chosen.is_unreadable:
        write_cart(response, chosen)
    return response


@sensitive_post_parameters()
@cache_control(private=True, no_cache=True)
def checkout(request: HttpRequest) -> HttpResponse:
    """Show the form, or place the order; then go on to its page, however often the same form is sent."""
    if request.method == "POST":
        return _submit(request)
    chosen = read_cart(request)
    bill = _bill(chosen.lines)
    if not bill.lines or bill.missing:
        return redirect("orders:cart")
    chosen = chosen.with_checkout_key()
    form = CheckoutForm(
        initial={
            "checkout_key": chosen.checkout_key,
            "lines": format_lines(chosen.lines),
            "total": bill.total_key,
            "payment_token": TEST_CARDS[0].token if settings.DEMONSTRATION else "",
        }
    )
    response = _checkout_page(request, form, bill)
    write_cart(response, chosen)
    return response


def _submit(request: HttpRequest) -> HttpResponse:
    form = CheckoutForm(request.POST)
    if not form.is_valid():
        return _checkout_page(request, form, _bill(_lines_of(form)), status=422)
    key, lines = form.cleaned_data["checkout_key"], form.cleaned_data["lines"]
    bill = _bill(lines)
    if bill.total_key != form.cleaned_data["total"] and not Checkout.objects.filter(key=key).exists():
        if bill.missing:
            form.add_error(None, "An article is no longer sold. Please go back to your cart and begin again.")
        else:
            form.show_total(bill.total_key)
            form.add_error(
                None, "A price has changed since you opened this page. Please look at the new total."
            )
        return _checkout_page(request, form, bill, status=422)
    try:
        placed = place_order(form.order_request(), checkout_key=key)
    except InvalidOrder as error:
        form.add_error(None, str(error))
        return _checkout_page(request, form, bill, status=422)
    except CheckoutKeyReused as error:
        return _already_ordered(request, key, error)
    response = HttpResponseRedirect(reverse("orders:order", args=[placed.order_id]), status=303)
    if read_cart(request).checkout_key == key:
        write_cart(response, Cart())
    return response


def _already_ordered(request: HttpRequest, key: str, error: CheckoutKeyReused) -> HttpResponse:
    first = Checkout.objects.get(key=key)
    response = page(
        request,
        "orders/already_ordered.html",
        {
            "order_id": first.order_id,
            "fields": list(dict.fromkeys(_WORDS.get(name, name) for name in error.fields)),
        },
        status=409,
    )
    chosen = read_cart(request)
    if chosen.checkout_key == key:
        # The next checkout of these goods is another order.
        write_cart(response, Cart(lines=chosen.lines))
    return response


_WORDS = {
    "customer.name": "name",
    "customer.email": "e-mail",
    "ship_to.name": "name",
    "ship_to.line1": "street",
    "ship_to.city": "town",
    "ship_to.postcode": "postcode",
    "ship_to.country": "country",
    "payment_token": "card",
    "lines": "goods",
}


def _checkout_page(request: HttpRequest, form: CheckoutForm, bill: Bill, status: int = 200) -> HttpResponse:
    token = form["payment_token"].value() or ""
    context = {
        "form": form,
        "bill": bill,
        "gateway": settings.GATEWAY_PUBLIC_URL,
        "is_demonstration": settings.DEMONSTRATION,
        "test_cards": TEST_CARDS,
        "chosen_token": token,
        "is_own_card": bool(token) and token not in TEST_TOKENS and "payment_token" not in form.errors,
    }
    return page(request, "orders/checkout.html", context, status=status)


def _article_page(request: HttpRequest, sku: str, form: QuantityForm, status: int = 200) -> HttpResponse:
    product = Product.objects.filter(sku=sku, is_listed=True).first()
    if product is None:
        raise Http404(f"There is no article {sku!r} in the catalogue.")
    return page(request, "orders/article.html", {"article": Article.of(product), "form": form}, status=status)


def _lines_of(form: CheckoutForm) -> Lines:
    """The goods of an invalid form, as far as they can be read."""
    lines: Lines = () if "lines" in form.errors else parse_lines(form.data["lines"])
    return lines


def _bill(lines: Lines) -> Bill:
    if not lines:
        return Bill.of_cart((), {})
    products = Product.objects.filter(sku__in=[sku for sku, _ in lines], is_listed=True)
    return Bill.of_cart(lines, {product.sku: product for product in products})


def page(
    request: HttpRequest,
    template: str,
    context: dict[str, Any],
    *,
    status: int = 200,
    cart: Cart | None = None,
) -> HttpResponse:
    """A page of the shop, with the number of pieces in the cart at its head."""
    pieces = (cart or read_cart(request)).pieces
    return render(request, template, {**context, "cart_pieces": pieces}, status=status)
