"""Sends calls to the gateway and reads the responses, over aiohttp."""
