"""The jobs behind ``goldgrad run``."""
