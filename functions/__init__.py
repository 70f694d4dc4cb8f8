"""What runs inside AWS. Imports nothing from stacks, modules or tools: it is packed alone."""
