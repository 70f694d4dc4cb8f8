"""Says whether what the API needs is there."""
