"""Which network an IP address belongs to."""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

__all__ = ["is_this_host", "network_of"]


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """The network within which one client can choose its address: IPv6 providers give each customer at least a /64. For IPv4, the address itself.

    :param address: as text; a zone (``%eth0``) does not count.
    :return: a network or an address, "" for anything that is not an IP address ("unix").
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
    """Whether an address is loopback: a client on this machine, or a proxy that speaks for clients anywhere."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_loopback
