"""Entry points of child processes. Never imported by the core."""

import wire  # noqa: F401  # pyright: ignore[reportUnusedImport]  before httpx, which it keeps small
