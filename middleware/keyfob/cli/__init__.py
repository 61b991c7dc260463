"""The `keyfob` command: words and flags only. What it does is in `server` and `pki`."""
