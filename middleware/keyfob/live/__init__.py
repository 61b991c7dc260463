"""What goes on while an app runs: files are watched, and the state they describe is swapped in."""

from keyfob.live.condition import Health, State, health
from keyfob.live.watch import Watch

__all__ = ["Health", "State", "Watch", "health"]
