"""The deep health check of the API."""
