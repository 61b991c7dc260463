"""One record for each decision worth keeping: every refusal, and a device's first admission to an application."""

from keyfob.audit.record import AuditRecord
from keyfob.audit.recorder import Callback, Recorder, Records
from keyfob.audit.sessions import Sessions

__all__ = ["AuditRecord", "Callback", "Recorder", "Records", "Sessions"]
