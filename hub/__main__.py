"""`python -m hub serve` is `tender hub serve`."""

from hub.cli import app

app()
