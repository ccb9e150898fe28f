"""The verbs of the command line, their arguments and options; what they do is in ``ebmark.commands``.

Everything heavy is imported inside the verb that needs it, so that --help is instant.
"""
