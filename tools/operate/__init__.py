"""What an operator runs on an environment."""
