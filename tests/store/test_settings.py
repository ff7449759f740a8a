"""The store's section."""

from twisted.trial.unittest import SynchronousTestCase

from netsvc.settings import load
from netsvc.store.settings import StoreSettings


class StoreSettingsTests(SynchronousTestCase):
    """[store] among the settings."""

    def test_keys(self) -> None:
        """Every key can be given, and an impossible one is refused by its own words."""
        given = ["readers=4", "busy_timeout=2s", "cache=1MiB", "checkpoint=1MiB", "wal=8MiB", "check=0", "heads=5", "search_wait=2s", "search_time=3s"]
        given += ["prune_batch=100"]
        settings = load({"store": StoreSettings}, None, [f"store.{pair}" for pair in given]).section(StoreSettings)
        mib = 1 << 20
        expected = StoreSettings(
            readers=4,
            busy_timeout=2.0,
            cache=mib,
            checkpoint=mib,
            wal=8 * mib,
            check=0,
            heads=5,
            prune_batch=100,
            search_wait=2.0,
            search_time=3.0,
        )
        self.assertEqual(settings, expected)
        self.assertEqual(len(given), len(StoreSettings.__struct_fields__))
