"""The shop's addresses."""

from django.templatetags.static import static
from django.urls import path, re_path
from django.views.generic import RedirectView

from orders import api, views, views_order

app_name = "orders"

urlpatterns = [
    # Browsers ask for it by themselves, also on pages that are not ours.
    path("favicon.ico", RedirectView.as_view(url=static("orders/mark.svg"), permanent=True)),
    path("", views.catalogue, name="catalogue"),
    path("articles/<slug:sku>/", views.article, name="article"),
    path("cart/", views.cart, name="cart"),
    path("cart/add/", views.add_to_cart, name="add_to_cart"),
    path("cart/change/", views.change_cart, name="change_cart"),
    path("checkout/", views.checkout, name="checkout"),
    path("orders/<uuid:order_id>/", views_order.order, name="order"),
    path("orders/<uuid:order_id>/progress", views_order.progress, name="progress"),
    path("orders/<uuid:order_id>/events", views_order.events, name="events"),
    path("orders/<uuid:order_id>/cancel/", views_order.cancel, name="cancel"),
    path("api/orders", api.orders, name="api_orders"),
    path("api/orders/<str:order_id>", api.order, name="api_order"),
    path("api/orders/<str:order_id>/cancellation", api.cancellation, name="api_cancellation"),
    re_path(r"^api/", api.unknown_address, name="api_unknown"),
]
