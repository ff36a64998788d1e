"""What was repaired in a stack, in words and as a figure, for a publication or a deposit."""

from .describe import Description, RepairedSection, describe_stack
from .text import as_latex, as_markdown

__all__ = ["Description", "RepairedSection", "as_latex", "as_markdown", "describe_stack"]
