"""Speed against peers: each command here runs netsvc and others in turn and prints the ratios (docs/performance.md)."""
