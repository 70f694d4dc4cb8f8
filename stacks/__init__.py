"""One Terraform root each, put together from modules."""
