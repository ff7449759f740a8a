"""Whose an IP address is."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

__all__ = ["is_this_host", "network_of"]


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """What one client can choose its address from: IPv6 providers give each customer a /64 at the least. An IPv4 address is itself.

    :param address: as text; a zone (``%eth0``) does not count.
    :return: a network or an address, "" for what is no IP address ("unix").
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ip_network((parsed, 64), strict=False))
    return address


@lru_cache(maxsize=4096)
def is_this_host(address: str) -> bool:
    """Whether an address is loopback: a client of this machine, or a proxy that speaks for clients of anywhere."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_loopback
