"""Words in, words out: flags, one clear line for each error, the files that commands leave.

Every command is a few calls of the rooms below.
"""
