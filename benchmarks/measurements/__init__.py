"""Each module measures one thing: `measure(stage, scale)` returns an outcome."""
