"""What other stacks are made of: the same modules, wired differently."""
