"""A measurement from beginning to end: the event loop, the progress on the terminal, and the summary."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from ampacity.model.errors import NotFound, NotRunning

from .arrivals import Arrival
from .exchange import Target
from .load import Ask, Load, Progress
from .outcome import Slo, Summary, summed_up


def measure(target: Target, ask: Ask, arrivals: Iterable[Arrival], slo: Slo, *, quiet: bool = False) -> Summary:
    """Send the arrivals, wait for all answers, and sum up. Raises ``InvalidSpec`` for a trace that is none."""
    import uvloop

    came_s = 0.0

    def timed() -> Iterator[Arrival]:
        nonlocal came_s
        for arrival in arrivals:
            came_s = arrival.at
            yield arrival

    shown = sys.stderr.isatty() and not quiet
    load = Load(target, ask, tell=_tell if shown else _silent)
    lasted_s = uvloop.run(load.run(timed()))
    if shown:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    return summed_up(load.outcomes, came_s=came_s, lasted_s=lasted_s, slo=slo)


def only_model(target: Target) -> str:
    """The model that is served there, if it is one. Raises ``NotFound``, ``NotRunning``."""
    scheme = "https" if target.tls else "http"
    url = f"{scheme}://{target.host}:{target.port}{target.path}/models"
    headers = {"authorization": f"Bearer {target.key}"} if target.key else {}
    try:
        with urlopen(Request(url, headers=headers), timeout=10) as answer:  # the scheme was checked before
            found = [str(each["id"]) for each in json.load(answer)["data"]]
    except HTTPError as error:
        raise NotFound(f"{url} answers {error.code}.", hint="Give --model, and --key where it asks for one.") from None
    except (URLError, OSError) as error:
        raise NotRunning(f"Nobody answers at {url}: {getattr(error, 'reason', error)}.") from None
    except (ValueError, KeyError, TypeError):
        raise NotFound(f"{url} lists no models.", hint="Give --model.") from None
    if len(found) == 1:
        return found[0]
    what = f"There are {len(found)} models: {', '.join(sorted(found)[:5])}" if found else "No model is served there"
    raise NotFound(f"{what}.", hint="Give one with --model.")


Tell = Callable[[Progress], None]


def _tell(progress: Progress) -> None:
    """A line on the terminal that says how far it is."""
    at, sent, under_way, answered = progress.at_s, progress.sent, progress.under_way, progress.answered
    text = f"{at:5.0f} s  {sent} sent  {under_way} under way  {answered} answered"
    print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)


def _silent(progress: Progress) -> None:
    """For programs."""
