"""The peers: the smallest server of each that does what netsvc is measured at."""
