"""The demonstration catalogue: what a fresh shop sells."""

from typing import NamedTuple

from orders.models import Product


class Article(NamedTuple):
    """One row of the catalogue; `price` in cents of a euro, `image` below `static/`."""

    sku: str
    name: str
    description: str
    price: int
    image: str


DEMONSTRATION_CATALOGUE = (
    Article(
        "mug",
        "Everyday mug",
        "Stoneware, thrown by hand and glazed in forest green. Holds 350 ml and keeps a round belly warm. "
        "Dishwasher safe.",
        1250,
        "orders/products/mug.svg",
    ),
    Article(
        "teapot",
        "Teapot for two",
        "Cast with a short spout that never drips, and a lid that stays put when you pour the last cup. "
        "Holds 800 ml; the strainer is inside.",
        4800,
        "orders/products/teapot.svg",
    ),
    Article(
        "notebook",
        "Field notebook",
        "144 dotted pages of recycled paper, thread-sewn so that it lies flat. Cloth cover, ribbon, and a "
        "pocket for what you pick up on the way.",
        980,
        "orders/products/notebook.svg",
    ),
    Article(
        "poster",
        "Poster, Two Hills",
        "Screen print in four colours on 250 g cotton paper, 50 × 70 cm. Rolled in a tube, not folded.",
        2400,
        "orders/products/poster.svg",
    ),
    Article(
        "blanket",
        "Wool blanket",
        "Woven from new wool that was never bleached, 130 × 180 cm. Heavy enough for a cold hut, soft enough "
        "for a sofa.",
        6500,
        "orders/products/blanket.svg",
    ),
    Article(
        "planter",
        "Terracotta planter",
        "Fired at low heat so that it breathes. 16 cm wide, with a saucer. The plant in the picture is not "
        "included, but would be grateful.",
        1850,
        "orders/products/planter.svg",
    ),
    Article(
        "clock",
        "Quiet wall clock",
        "A sweeping movement without a tick, in an oak frame of 28 cm. Runs two years on one battery.",
        5400,
        "orders/products/clock.svg",
    ),
    Article(
        "lamp",
        "Reading lamp",
        "A shade of spun steel on a beech foot, with a warm light that can be dimmed. Made in small numbers, "
        "and often gone before the page is.",
        8900,
        "orders/products/lamp.svg",
    ),
)


def load_catalogue() -> int:
    """Put the articles into the catalogue, or back to how they are written here; returns how many."""
    products = [
        Product(
            sku=article.sku,
            name=article.name,
            description=article.description,
            price_amount=article.price,
            currency="EUR",
            image=article.image,
            position=position,
            is_listed=True,
        )
        for position, article in enumerate(DEMONSTRATION_CATALOGUE, start=1)
    ]
    Product.objects.bulk_create(
        products,
        update_conflicts=True,
        unique_fields=["sku"],
        update_fields=["name", "description", "price_amount", "currency", "image", "position", "is_listed"],
    )
    return len(products)
