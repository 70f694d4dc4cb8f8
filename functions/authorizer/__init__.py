"""The authorizer of the API for tokens of an issuer."""
