"""Makes ``twistd netsvc`` known. Installed as twisted/plugins/netsvc_plugin.py; netsvc itself is imported only when it is run."""

from twisted.application.service import ServiceMaker

__all__ = ["service_maker"]

service_maker = ServiceMaker("netsvc", "netsvc.tap", "Chat rooms, and procedures that programs call and provide.", "netsvc")
