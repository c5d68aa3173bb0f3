"""Korean particles: which of the two forms follows a word depends on how its last letter sounds.

    with_particle("data.path", TOPIC)    the name and the form that fits it

Names, keys and numbers in a sentence are not known when it is written. ASCII letters and digits count as they are read
in Korean. Standard library only.
"""

from __future__ import annotations

# (after a consonant, after a vowel); a text names either of the two.
_PAIRS = (
    ("\uc740", "\ub294"),  # eun, neun: topic
    ("\uc774", "\uac00"),  # i, ga: subject
    ("\uc744", "\ub97c"),  # eul, reul: object
    ("\uacfc", "\uc640"),  # gwa, wa: with
    ("\uc73c\ub85c", "\ub85c"),  # euro, ro: by, to
)
PARTICLES = {form: pair for pair in _PAIRS for form in pair}
_BY = _PAIRS[-1]
_FIRST, _LAST, _FINALS = 0xAC00, 0xD7A3, 28  # Hangul syllables; (code - first) % 28 is the final consonant, 0 is none
_RIEUL = 8  # the final consonant after which "by" takes its short form
# Read aloud these end with a consonant: yeong il sam yuk chil pal, el em en ar. Il, chil, pal, el and ar with rieul.
_CLOSED = frozenset("013678lmnr")
_CLOSED_BY_RIEUL = frozenset("178lr")


def with_particle(word: str, particle: str) -> str:
    """The word and that particle in the form that fits. particle: one of PARTICLES. What stands in brackets or quotes
    at the end counts as read."""
    pair = PARTICLES[particle]
    letters = [letter for letter in word if letter.isalnum()]
    last = letters[-1].lower() if letters else ""
    closed, rieul = last in _CLOSED, last in _CLOSED_BY_RIEUL
    if last and _FIRST <= ord(last) <= _LAST:
        final = (ord(last) - _FIRST) % _FINALS
        closed, rieul = final != 0, final == _RIEUL
    return word + pair[0 if closed and not (rieul and pair is _BY) else 1]
