"""Streams the lines of a file to a server again and again, until its answer ends: URL FILE. Prints the answers."""

import asyncio
import sys

import aiohttp


async def endless(path):
    lines = open(path, "rb").read().splitlines(keepends=True)
    while True:
        for first in range(0, len(lines), 100):
            yield b"".join(lines[first : first + 100])


async def main(url, path):
    headers = {"content-type": "application/x-ndjson"}
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        async with session.post(url + "/predict", data=endless(path), headers=headers) as answer:
            assert answer.status == 200, answer.status
            async for piece in answer.content.iter_any():
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()


asyncio.run(main(*sys.argv[1:]))
