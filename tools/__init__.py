"""What a person runs: set-up, the embedded AWS, Terraform, plans."""
