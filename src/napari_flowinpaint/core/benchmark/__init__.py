"""Damage intact sections on purpose, repair them, and compare with the truth.

Every third section is damaged, so that the neighbours are intact; masks are drawn again for
every section. All methods and peers see the same sections and masks in the same run.
"""
