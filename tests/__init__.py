"""The tests of netsvc."""

from hypothesis import settings

# A busy machine makes any single example slow; trial has a deadline for whole tests.
settings.register_profile("netsvc", deadline=None)
settings.load_profile("netsvc")
