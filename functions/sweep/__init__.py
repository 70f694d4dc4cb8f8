"""The sweeper: it finds files without progress, and starts their workflow again."""
