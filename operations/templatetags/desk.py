"""What the operators' templates ask for."""

from django import template
from django.conf import settings

from operations import admin_desk

register = template.Library()


@register.simple_tag
def waiting() -> admin_desk.Waiting:
    return admin_desk.waiting()


@register.simple_tag
def gateways() -> admin_desk.Gateways:
    return admin_desk.gateways()


@register.simple_tag
def old_gaps() -> admin_desk.Gaps:
    return admin_desk.old_gaps()


@register.simple_tag
def flower_url() -> str:
    """Where Flower is; empty where there is none."""
    return str(settings.FLOWER_URL)
