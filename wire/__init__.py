"""The contract between hub and node, and how it is delivered. Nothing else belongs here."""

import sys

# httpx brings a command line with rich and pygments, if they are there, which takes a third of its time to import.
sys.modules.setdefault("httpx._main", None)  # pyright: ignore[reportArgumentType]  None: there is no such module
