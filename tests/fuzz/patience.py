"""How long hypothesis may take: as long as it needs, since the machine may be busy with something else."""

from hypothesis import HealthCheck, settings


def examples(number: int) -> settings:
    """So many examples, and no clock."""
    return settings(max_examples=number, deadline=None, suppress_health_check=[HealthCheck.too_slow])
