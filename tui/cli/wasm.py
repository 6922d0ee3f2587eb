"""`tender wasm run`: a WASM program of this machine as a job."""

from pathlib import Path
from typing import Annotated

import typer

from tui.cli.grouped import grouped
from tui.cli.options import Hub, Run, TaskFlags
from tui.spec import wasm_job
from tui.submit import run_job

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Run a WASM program as a job."
)


@app.callback()
def main() -> None:
    """Run a WASM program as a job."""


@app.command(context_settings={"allow_interspersed_args": False})
@grouped
def run(
    module: Annotated[Path, typer.Argument(metavar="FILE.wasm", help="The program; it travels inside the job.")],
    hub: Hub,
    run: Run,
    task: TaskFlags,
    args: Annotated[list[str] | None, typer.Argument(metavar="ARGS", help="For the program.")] = None,
    entry_point: Annotated[str, typer.Option(help="The function to call.")] = "_start",
    import_module: Annotated[list[Path] | None, typer.Option("-I", "--import-modules", help="Further modules.")] = None,
) -> None:
    """Run FILE.wasm with ARGS. Options stand before the file."""
    document = wasm_job(task, module, args or [], entry_point, import_module or [])
    run_job(document, hub, run, task.shown)
