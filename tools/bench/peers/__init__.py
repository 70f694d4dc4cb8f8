"""The peers with which Sluice is compared."""
