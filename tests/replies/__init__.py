"""What a server sends: read into results and exceptions, without the key in any of them."""
