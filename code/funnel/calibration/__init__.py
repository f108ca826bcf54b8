"""Many fits, to learn how far one can be trusted.

:mod:`funnel.calibration.mapping` spreads the fits over processes and machines,
:mod:`funnel.calibration.centering` asks when to center, :mod:`funnel.calibration.sbc` and
:mod:`funnel.calibration.three_level` whether models are calibrated. Their results are
committed under ``data/``; ``make study`` computes them anew.
"""
