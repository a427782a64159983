"""Grid DCU: the metering application of a data concentrator unit (architecture: docs/architecture.md)."""
