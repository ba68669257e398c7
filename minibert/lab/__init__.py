"""The gradient laboratory: whole models under the microscope.

check.py        every tensor of a model against the complex step
identities.py   what must hold exactly, whatever the weights
mutants.py      planted bugs, to check the checkers
"""
