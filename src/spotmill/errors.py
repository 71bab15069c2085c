"""The one exception that Spotmill raises on purpose."""


class SpotmillError(Exception):
    """Report a problem that the user can mend, in one line: file, key, remedy.

    The command line prints the message without a traceback and exits with 1.
    Anything else that escapes is a defect of ours and keeps its traceback.
    """
