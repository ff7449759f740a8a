"""Tests for netsvc.cli."""
