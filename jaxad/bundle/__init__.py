"""A trained model as a folder that goes elsewhere: program, weights, card, and what they ask for.

`written` makes a bundle, `opened` gives it back as a detector; whatever takes the folder of a run
takes that of a bundle.
"""
