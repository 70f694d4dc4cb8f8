"""What a contributor runs on this repository."""
