"""The operations part."""
