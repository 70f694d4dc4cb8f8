"""Lets the bearers of an issuer's tokens call the API."""
