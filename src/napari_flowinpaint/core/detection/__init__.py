"""Find the damage of a whole stack: many sections, in parallel, resumable, into a label image.

:mod:`.detect_stack` does it, section by section with :mod:`.detect_section`; :mod:`.store` keeps
the masks and what was found so far, :mod:`.flag_table` the list of flagged sections. What is
measured of a section is in :mod:`.features`, what counts as damage in :mod:`.detectors`.
"""
