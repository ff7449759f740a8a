"""Tests of the chat page's modules that need no page."""
