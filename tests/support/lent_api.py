"""The application of the API, lent to one hub after another: building its routes takes longer than most tests."""

from litestar import Litestar

from hub.api.routes import make_api
from hub.parts import Hub

_IDLE: list[Litestar] = []


def lend(hub: Hub, patience: float) -> Litestar:
    """An application over this hub, until it is given back. `patience`: seconds that a body may take."""
    if not _IDLE:
        return make_api(hub, patience=patience)
    api = _IDLE.pop()
    api.state.hub, api.state.patience = hub, patience
    return api


def give_back(api: Litestar) -> None:
    """Nobody asks it anything any more."""
    del api.state.hub
    _IDLE.append(api)
