"""`tender user` and `tender key` against the hub's real application."""

import asyncio
import re

import pytest
from typer.testing import CliRunner

from tests.support.hub_bench import hub_bench
from tui.main import app
