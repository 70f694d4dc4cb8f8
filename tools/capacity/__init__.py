"""Prices, quotas, cost, scale and simulation."""
