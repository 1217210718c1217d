"""How a call gets to the gateway and its answer back, over aiohttp."""
