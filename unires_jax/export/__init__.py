"""`unires export`: a trained model as a folder that other systems can use.

A kind of export is a row of `command.KINDS` and a script in `templates` that uses the
folder where this package is not installed.
"""
