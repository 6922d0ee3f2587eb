"""The wall clock of a whole process, as a test sets it while the process runs; the monotonic clock stays real."""

from pathlib import Path

from wire import clock

LIBRARY = "libfaketime.so.1"
YEAR = 365 * 86_400


class FakeTime:
    """`environment` makes a process look at this clock. It shows the real time until it is set."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.off(0)
        (library,) = Path("/usr/lib").glob(f"*/faketime/{LIBRARY}")
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def off(self, seconds: float) -> None:
        """It goes wrong by so much from now on; 0 puts it right."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds:+.0f}\n")
        fresh.rename(self._file)

    def in_1970(self) -> None:
        """Ten minutes after a box without a battery was switched on."""
        self.off(600 - clock.unix())
