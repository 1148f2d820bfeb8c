"""The model card: Markdown with the front matter of the Hugging Face Hub, from what is stored about a run.

`model_card` is a pure function: equal facts give equal text, at any time and on any machine. Everything that comes from
elsewhere (names of classes, data sets and groups, reasons of a verdict) is put on one line and escaped, so that it
forms neither Markdown nor HTML, and cannot end the front matter.
"""

from mlops_core.report.model_card.card import model_card
from mlops_core.report.model_card.facts import CardFacts, card_facts_of, read_card_facts
from mlops_core.report.model_card.markdown import markdown_text

__all__ = ["CardFacts", "card_facts_of", "markdown_text", "model_card", "read_card_facts"]
