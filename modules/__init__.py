"""One concern each: typed constructs that the stacks put together."""
