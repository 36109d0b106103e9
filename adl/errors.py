"""The one kind of failure that is expected."""


class AdlError(Exception):
    """A fault that the user can mend: the message says what is wrong, where, and what to do.

    The stages print it without a traceback and exit 2.
    """
