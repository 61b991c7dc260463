"""Keys and certificates: an authority of one's own, and what it issues."""
