"""Tests of netsvc.settings."""
