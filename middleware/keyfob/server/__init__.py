"""What a server needs so that the TLS layer's certificate reaches the app."""
