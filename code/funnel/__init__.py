"""Shared code of the course *Hierarchical Models: Awesome, Tricky, and Bayesian*.

Import the module that you need, for example ``from funnel import data, exact``:
importing the package itself imports nothing else.
"""
