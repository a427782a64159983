"""A simulated street of DLMS/COSEM meters whose every reading is known: for development and tests, never in an image."""
