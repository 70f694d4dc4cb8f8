"""Commands of a contributor to this repository."""
