"""What the S1SP has on its books of the homes that it migrates: how far each is, its meters, and when.

Committed before anything is done about it; found again after a restart.
"""

from __future__ import annotations

from collections.abc import Callable

from smets1.eui64 import Eui64
from smets1.firmware.nvm import Nvm
from smets1.headend.duis.codes import DeviceType
from smets1.headend.migration.file_store import FileStore
from smets1.headend.migration.files import Installation
from smets1.headend.migration.progress import HomeProgress, Stage

__all__ = ["HomeBook"]


class HomeBook:
    """`files`: the sets in which the homes were filed. `on_change` is told of every change."""

    def __init__(self, nvm: Nvm, files: FileStore) -> None:
        self.on_change: Callable[[HomeProgress], None] = lambda _home: None
        self._nvm = nvm
        self._files = files
        self._homes: dict[Eui64, HomeProgress] = {}
        self._hubs: dict[Eui64, Eui64] = {}  # by meter
        for key in nvm.keys("home/"):
            octets = nvm.get(key)
            assert octets is not None, "listed"
            self._note(HomeProgress.decode(octets))

    def _note(self, home: HomeProgress) -> None:
        self._homes[home.hub] = home
        installation = self.installation(home)
        for meter in () if installation is None else installation.meters:
            self._hubs[meter] = home.hub

    # --- homes --------------------------------------------------------------------------------------

    def find(self, hub: Eui64) -> HomeProgress | None:
        return self._homes.get(hub)

    def get(self, hub: Eui64) -> HomeProgress:
        """Raises KeyError for a home that was not begun."""
        return self._homes[hub]

    def all(self) -> tuple[HomeProgress, ...]:
        """In the order in which they were begun."""
        return tuple(self._homes.values())

    def begin(self, home: HomeProgress) -> None:
        """Of an MEF. Committed."""
        self.keep(home)
        self._note(home)

    def keep(self, home: HomeProgress) -> HomeProgress:
        """Committed."""
        self._nvm.put(f"home/{home.hub:016x}", home.encode())
        self._nvm.commit()
        self._homes[home.hub] = home
        self.on_change(home)
        return home

    def let_go(self, hub: Eui64) -> None:
        """A home at its end need not be in memory; its record stays."""
        home = self._homes.get(hub)
        if home is not None and home.stage in (Stage.COMMISSIONED, Stage.ROLLED_BACK):
            del self._homes[hub]
            for meter in [meter for meter, of in self._hubs.items() if of == hub]:
                del self._hubs[meter]

    # --- as they were filed -------------------------------------------------------------------------

    def installation(self, home: HomeProgress) -> Installation | None:
        """None: its file set is gone."""
        return self._files.home(home.file_set, home.hub)

    def meter(self, home: HomeProgress, kind: DeviceType) -> Eui64 | None:
        installation = self.installation(home)
        return None if installation is None else installation.first(kind)

    def hub_of(self, meter: Eui64) -> Eui64 | None:
        return self._hubs.get(meter)

    # --- times --------------------------------------------------------------------------------------

    def time(self, name: str) -> int | None:
        """Of `put_time`; None: not yet."""
        stored = self._nvm.get(name)
        return None if stored is None else int.from_bytes(stored, "big")

    def put_time(self, name: str, utc_us: int) -> None:
        """Committed."""
        self._nvm.put(name, utc_us.to_bytes(8, "big"))
        self._nvm.commit()
