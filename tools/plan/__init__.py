"""What a Terraform plan would do, for a person who has to decide: report, risks, guard. `python -m tools.plan`."""
