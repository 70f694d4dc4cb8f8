"""The report, the risks and the guard of a Terraform plan. `python -m tools.operate.plan` runs it."""
