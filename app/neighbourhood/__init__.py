"""A simulated street of DLMS/COSEM meters, every reading of which is known: for development, never in an image."""
