"""Commands for people, grouped by audience."""
