"""One family of errors: each message says what was wrong, what was expected and what to do."""


class CifarUtilsError(Exception):
    """Something that the person at the keyboard can mend; the command line prints it without a traceback."""


class DataError(CifarUtilsError):
    """A data file is missing, damaged or of the wrong shape."""


class ParameterError(CifarUtilsError):
    """A parameter has an unknown name, a wrong type or an impossible value."""


class LedgerError(CifarUtilsError):
    """A claim is malformed, or a measurement does not belong to any claim."""


class RunError(CifarUtilsError):
    """A notebook could not be run, or what it left may not be published."""
