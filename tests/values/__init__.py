"""The values a caller gives, gets and catches."""
