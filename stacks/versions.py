"""The versions of Terraform and its AWS provider that every stack requires."""

# `use_lockfile` came with this version (Terraform, "Backend type: s3").
TERRAFORM_VERSIONS = ">= 1.10.0"

# Terraform reads a short name as its own registry's, OpenTofu as another's.
PROVIDER = "hashicorp/aws"

# Independent of the version that the Python bindings were made from: the same JSON suits both (docs/upgrading.md).
PROVIDER_VERSION = "5.100.0"
