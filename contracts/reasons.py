"""Why an order could not be carried out: codes, which each reader puts in its own words."""

OUT_OF_STOCK = "out_of_stock"
CARD_DECLINED = "card_declined"
UNDELIVERABLE = "undeliverable"
CAPTURE_REFUSED = "capture_refused"
STEP_OVERDUE = "step_overdue"
STEP_FAILED = "step_failed"
UNDONE_BEFORE_DONE = "undone_before_done"
