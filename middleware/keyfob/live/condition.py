"""Whether what is in force is what the files say, for a route that an alarm asks."""

import time
from datetime import datetime
from typing import NamedTuple

from keyfob.live.watch import LIVING, Watch

# Seconds without a look at the files after which something is wrong; building the next state takes as long as it takes.
LONGEST_SILENCE = 10.0
# And while a new state is built: a disk or a network that does not answer would hold it up for ever.
LONGEST_BUILDING = 60.0


class State(NamedTuple):
    """One configuration: `since` is when what is in force was read, `problem` why it is not what the files say now."""

    name: str
    ok: bool
    since: datetime
    problem: str


class Health(NamedTuple):
    """The configurations of one process. `ok` says whether each is in force as its files say.

    `since` is when the newest was read, None where there is none; `problem` is every problem's text, and empty if all
    is well. It names files and rules, so it is not for strangers.
    """

    ok: bool
    since: datetime | None
    problem: str
    configurations: tuple[State, ...]


def health() -> Health:
    """How the configurations of this process are, of all that an AccessMiddleware was given as files.

    With several worker processes, it is about the one that is asked. Where nothing is watched, nothing is known to be
    well. What is not promised: that the app is; an `ok` of False does not keep the old state from serving.
    """
    states = tuple(sorted(map(_examine, list(LIVING))))
    if not states:
        return Health(ok=False, since=None, problem="no configuration is watched in this process", configurations=())
    return Health(
        ok=all(state.ok for state in states),
        since=max(state.since for state in states),
        problem="\n".join(state.problem for state in states if state.problem),
        configurations=states,
    )


def _examine(watch: Watch) -> State:
    problem = watch.problem or watch.unrest or "\n".join(watch.gate.find_troubles(time.time()))
    silent = time.time() - watch.checked_at
    if not problem and silent > (LONGEST_BUILDING if watch.is_building else LONGEST_SILENCE):
        problem = f"{watch.name}: nobody has looked for changes for {silent:.0f} seconds"
    return State(watch.name, not problem, watch.since, problem)
