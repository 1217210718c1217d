"""The emulator's own tests: it is product code, and shares nothing with the client."""
