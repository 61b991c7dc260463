"""An export from Access's API, or Terraform's JSON, read into the tables of our own configuration."""

from keyfob.config.exports.building import Export, read_export

__all__ = ["Export", "read_export"]
