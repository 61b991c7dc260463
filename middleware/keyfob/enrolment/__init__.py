"""Enrolment: how a key gets onto a device, and how its successor does. Pages for people, protocols for machines."""
