"""Standard output, for as long as somebody reads it (``netsvc call --parts … | head -1``), and when there is none."""

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

__all__ = ["fill_in", "while_read", "write_no_more"]


def fill_in() -> None:
    """Replace what is closed of standard input, output and error (``>&-``, some supervisors), None in Python, by files that are empty or lead nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - open until the process ends


@asynccontextmanager
async def while_read() -> AsyncIterator[Callable[[Exception], None]]:
    """Run a block until it is done, or nobody reads standard output any more: then it is cancelled, without a word.

    The block is given a function, to be called with a write error where raising it would be useless, in a callback: the block is cancelled,
    and the error is raised in its place, unless the error says that the reader is gone.
    """
    task, loop, output = asyncio.current_task(), asyncio.get_running_loop(), _pipe()
    assert task is not None
    errors: list[Exception] = []

    def end(error: Exception) -> None:
        # Once: what is done at the end must not be cancelled as well.
        if not errors:
            errors.append(error)
            task.cancel()
            let_go()

    def let_go() -> None:
        if output is not None:
            loop.remove_reader(output)

    if output is not None:
        # The writing end of a pipe is never readable, but in error once nobody reads: so this is noticed before there is anything to write.
        loop.add_reader(output, end, BrokenPipeError())
    try:
        yield end
    except asyncio.CancelledError:
        if not errors:
            raise
    except BrokenPipeError as error:
        errors.append(error)
    finally:
        let_go()
    if errors:
        # The block may have been done before it could be cancelled.
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        if not isinstance(errors[0], BrokenPipeError):
            raise errors[0]
        write_no_more()


def write_no_more() -> None:
    """Drop what could not be written; otherwise Python would complain at exit that it cannot flush."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _pipe() -> int | None:
    """The descriptor of standard output if it is a pipe."""
    try:
        output = sys.stdout.fileno()
        return output if stat.S_ISFIFO(os.fstat(output).st_mode) else None
    except OSError:
        return None
