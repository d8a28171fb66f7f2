"""File locks between processes; the kernel drops a lock when its holder dies.

Where there are none (Windows, some network drives) a lock always succeeds: one server a store is
then the user's own care.
"""

import errno
import sys

if sys.platform == "win32":

    def try_lock(descriptor: int) -> bool:  # noqa: ARG001  # the signature of the other one
        """Always granted."""
        return True

    def lock_shared(descriptor: int) -> None:
        """Nothing to lock."""

else:
    import fcntl

    def try_lock(descriptor: int) -> bool:
        """Lock an open file for this process alone, without waiting; whether that worked.

        A shared lock that the same open file had is lost, even when this fails.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
        return True

    def lock_shared(descriptor: int) -> None:
        """Lock an open file together with others, waiting for one who has it alone."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
