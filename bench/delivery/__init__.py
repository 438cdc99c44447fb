"""What a delivery to another server costs."""
