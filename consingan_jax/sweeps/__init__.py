"""Many runs of one configuration: their directory, their execution, their report."""
