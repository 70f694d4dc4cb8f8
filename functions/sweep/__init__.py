"""Finds files that got stuck, and starts their workflow again."""
