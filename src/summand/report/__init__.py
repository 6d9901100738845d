"""How results are shown: figures, contact sheets and pages."""
