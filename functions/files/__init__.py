"""What an owner has: list, look at, fetch, delete."""
