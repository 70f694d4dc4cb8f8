"""Further stacks, built from the same modules."""
