"""What can go wrong that is not a fault of this program."""


class InputError(ValueError):
    """A configuration, a file or an argument cannot work: says which, its value, and the mend."""


class DivergedError(FloatingPointError):
    """The parameters are no finite numbers any more."""
