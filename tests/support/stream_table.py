"""Every state of a stream and every frame that may meet it: what docs/protocol.md says of them.

A state is the way there, a letter for each frame: small ones are the opener's, capitals the answerer's. o opens; a and
A answer with OPENED, f and F with REFUSED; d and D are DATA, e and E END, r and R RESET.
"""

FINE, WRONG, IGNORED = ".", "x", "-"
FRAMES = "afder"  # and in capitals

# The way there: what each frame of the opener, and then of the answerer, is
STATES = {
    "":     ("xxxxx", "xxxxx"),  # never opened
    "o":    ("xx...", "..xxx"),  # the answer is owed
    "oe":   ("xxxx.", "..xxx"),
    "oA":   ("xx...", "xx..."),  # open
    "oAe":  ("xxxx.", "xx..."),  # one direction has ended
    "oeA":  ("xxxx.", "xx..."),
    "oAE":  ("xx...", "xxxx."),
    "oAeE": ("-----", "-----"),  # over, in each of the ways
    "oAEe": ("-----", "-----"),
    "oeAE": ("-----", "-----"),
    "oAr":  ("-----", "-----"),
    "oAR":  ("-----", "-----"),
    "oAer": ("-----", "-----"),
    "oAeR": ("-----", "-----"),
    "oAEr": ("-----", "-----"),
    "oAER": ("-----", "-----"),
    "or":   ("-----", "-----"),  # before the answer
    "oer":  ("-----", "-----"),
    "oF":   ("-----", "-----"),
    "oeF":  ("-----", "-----"),
}  # fmt: skip


ROWS = [  # the way there, the letter of a frame, and what it is
    (way, letter, verdict)
    for way, verdicts in STATES.items()
    for letter, verdict in zip(FRAMES + FRAMES.upper(), "".join(verdicts), strict=True)
]
