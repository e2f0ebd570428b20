"""Language models as models of text: n-grams, neural ones, and over words."""
