"""Every address of the web process."""

from django.contrib import admin
from django.urls import include, path

from operations.health import healthz, readyz
from operations.metrics import metrics

admin.site.site_header = admin.site.site_title = "Makegood"
admin.site.index_title = "Operations"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("healthz", healthz),
    path("readyz", readyz),
    path("metrics", metrics),
    path("", include("orders.urls")),
]

handler403 = "operations.refusals.not_permitted"
handler404 = "operations.refusals.not_found"
