"""Commands of an operator for an environment."""
