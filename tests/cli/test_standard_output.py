"""Tests for netsvc.cli.standard_output: with pipes, on an event loop of asyncio."""

import asyncio
import os
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from netsvc.cli import standard_output
from netsvc.cli.standard_output import fill_in, while_read


class WhileRead(SynchronousTestCase):
    """A block that writes to a pipe."""

    def setUp(self) -> None:
        """The pipe is standard output."""
        self.reading, self.writing = os.pipe()
        self.addCleanup(os.close, self.writing)
        self.reader_is_there = True
        self.addCleanup(self.reader_goes)
        system = patch.object(standard_output, "sys").start()
        self.addCleanup(patch.stopall)
        system.stdout.fileno.return_value = self.writing
        self.told: list[str] = []

    def reader_goes(self) -> None:
        """Nobody reads any more."""
        if self.reader_is_there:
            self.reader_is_there = False
            os.close(self.reading)

    def test_done(self) -> None:
        """With a reader it is done as it would be; its errors are its own."""

        async def program(error: Exception | None) -> str:
            async with while_read():
                await asyncio.sleep(0)
                if error is not None:
                    raise error
            return "done"

        self.assertEqual(asyncio.run(program(None)), "done")
        self.assertRaises(ValueError, asyncio.run, program(ValueError()))
        self.assertRaises(asyncio.CancelledError, asyncio.run, program(asyncio.CancelledError()))  # type: ignore[arg-type]  # as others cancel it

    def test_reader_goes(self) -> None:
        """When the reader goes it is cancelled, with time for what has to be done at the end; then what is left to be written goes nowhere."""

        async def program() -> None:
            async with while_read():
                try:
                    self.reader_goes()
                    await asyncio.Event().wait()
                finally:
                    for _ in range(3):
                        await asyncio.sleep(0)
                    self.told.append("end")
            self.told.append("behind")

        asyncio.run(program())
        self.assertEqual(self.told, ["end", "behind"])
        self.assertEqual(os.write(self.writing, b"x"), 1)

    def test_writing_fails(self) -> None:
        """It may be the writing that meets it, also in a callback, when the block may be done already. Other errors are raised."""

        async def program(error: Exception, raised: bool) -> None:
            async with while_read() as end:
                if raised:
                    raise error
                end(error)
                end(ValueError("only the first counts"))
            await asyncio.sleep(0)
            self.told.append("behind")

        for raised in (True, False):
            asyncio.run(program(BrokenPipeError(), raised))
        self.assertEqual(self.told, ["behind", "behind"])
        self.assertRaises(OSError, asyncio.run, program(OSError("no space left"), False))


class FillIn(SynchronousTestCase):
    """Streams that are closed from the beginning."""

    def test_closed(self) -> None:
        """Nothing comes from them, and what is written goes nowhere; those that are open stay as they are."""
        with patch.object(standard_output, "sys") as system:
            system.stdin = system.stdout = None
            system.stderr = open_one = object()
            fill_in()
            self.addCleanup(system.stdin.close)
            self.addCleanup(system.stdout.close)
            self.assertIs(system.stderr, open_one)
            self.assertEqual((system.stdin.buffer.read(), system.stdin.isatty(), system.stdout.isatty()), (b"", False, False))
            self.assertEqual(system.stdout.write("x"), 1)
            system.stdout.flush()
