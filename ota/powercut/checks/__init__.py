"""Judges a state: U-Boot's environment, the banks, the file systems, and what the product's own code finds in them."""
