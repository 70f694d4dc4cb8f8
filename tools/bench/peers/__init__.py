"""What Sluice is measured against."""
