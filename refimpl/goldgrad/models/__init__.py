"""Networks as short definitions."""
