"""The code that runs in Lambda. It imports nothing from stacks, modules or tools, because it is packed without them."""
