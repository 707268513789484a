"""`connect`: stdin and stdout as one stream, as a ProxyCommand for ssh."""

from __future__ import annotations

from ..client.stdio import Pipe
from ..facts import limits
from ..facts.errors import NetworkError
from ..net.signals import Stop
from . import specs
from .opening import first_session, open_pool
from .options import Options


def connect(options: Options) -> int:
    """Carries stdin and stdout; 0 when the target has ended and all of it is written."""
    target = specs.destination(options["HOST"], options["PORT"])
    stop = Stop(hangup_ends=True)
    pool = open_pool(options, stop, 1)
    if not first_session(pool, stop, retry=False):
        return 255
    pipe = Pipe(pool, stop)
    try:
        quiet = pipe.run(target)
    except NetworkError as error:
        if stop.failure is not None:
            raise stop.failure from None
        name = str(target)
        raise NetworkError(str(error) if str(error).startswith(name) else f"{name}: {error}", error.hint) from None
    finally:
        stop.see_through(lambda: pool.close(1.0 if stop.came else limits.RELEASE))
    if stop.failure is not None:
        raise stop.failure
    return 255 if quiet else 0
