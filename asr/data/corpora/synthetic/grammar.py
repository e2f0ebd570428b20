"""Sentences of the synthetic corpus: a small grammar over about 150 words."""

import random
from collections import Counter
from collections.abc import Iterator
from statistics import mean

_CANDIDATES = 24
_RARE_WORDS = 4

# Words are chosen to be told apart by ear: no homophones, few words of one short syllable.
_WORDS = {
    "name": "alice benjamin catherine daniel eleanor frederick gabriel veronica",
    "room": "kitchen garden bedroom garage office library balcony basement",
    "device": "heater radio television window camera telephone dishwasher vacuum",
    "animal": "elephants monkeys rabbits penguins dolphins squirrels spiders",
    "city": "london paris madrid chicago toronto amsterdam singapore",
    "food": "bananas potatoes chocolate sandwiches coffee pancakes mushrooms",
    "colour": "yellow purple orange silver green",
    "quality": "beautiful enormous friendly curious silent ancient expensive",
    "number": "three four five six seven eight nine eleven twelve",
    "digit": "three four five six seven eight nine",
    "tens": "twenty thirty forty fifty",
    "month": "january february march april august september october november december",
    "day": "monday tuesday wednesday thursday friday saturday sunday",
    "time": "today tomorrow yesterday tonight",
    "part": "morning afternoon evening",
    "order": "repair remember cancel deliver paint describe",
    "past": "visited followed discovered ordered carried borrowed admired watched",
    "manner": "slowly quickly quietly carefully",
    "often": "always never usually",
    "place": "near behind under",
    "event": "concert meeting football",
}
SLOTS: dict[str, tuple[str, ...]] = {slot: tuple(words.split()) for slot, words in _WORDS.items()}

# No pair such as "on the" or "there are": espeak-ng speaks these as one word.
PATTERNS: tuple[str, ...] = (
    "{name} {past} {animal}",
    "{order} {number} {food} {time}",
    "{name} {often} {past} {quality} {animal}",
    "please {order} the {colour} {device} {place} the {room}",
    "please {order} my {device} {time}",
    "{order} {number} {colour} {animal} {manner}",
    "{name} {past} {number} {quality} {animal}",
    "{name} {manner} {past} every {quality} {device} {day} {part}",
    "{name} and {name} {often} {past} {quality} {animal} {place} {city}",
    "{name} {often} {past} {food} with {food} and {food}",
    "how many {quality} {animal} {past} {city} {time}",
    "how many {food} did {name} need {time}",
    "where did {name} find my {colour} {device}",
    "who {past} {name} and {number} {animal} {place} the {room}",
    "the {event} begins {day} {month} {number} at {number} o'clock",
    "the {event} begins at {tens} minutes past {number} {time}",
    "it's {number} o'clock in {city} and {tens} minutes past {number} in {city}",
    "it's {day} the third {part} of {month}",
    "don't {order} {food} and {food} {day} {part}",
    "don't {order} my {room} {device} in {month}",
    "{order} every {room} {event} {day} {part}",
    "the number is {tens} {digit} {number} {tens} {digit}",
    "call number {tens} {digit} {tens} {digit} before {time}",
    "we need {tens} {digit} {food} and {number} {colour} {animal}",
    "the {colour} train leaves {city} every {day} {part}",
    "my {quality} {room} is {place} the {quality} {room}",
    "my {quality} {animal} {past} {name} {manner}",
    "{city} is {often} {quality} in {month} and {month}",
)


def _fill(pattern: str, choose: random.Random) -> str:
    words: list[str] = []
    for token in pattern.split():
        if token.startswith("{"):
            # Without replacement: "alice and alice" would be odd.
            words.append(choose.choice([w for w in SLOTS[token[1:-1]] if w not in words]))
        else:
            words.append(token)
    return " ".join(words)


def vocabulary() -> frozenset[str]:
    """All words that a sentence may have, in lower case."""
    fixed = (word for pattern in PATTERNS for word in pattern.split() if not word.startswith("{"))
    return frozenset(fixed).union(*SLOTS.values())


def sentences(seed: str, spoken: set[str]) -> Iterator[str]:
    """Draw sentences without end, rare words first, none of them twice.

    Args:
        seed: Any text; the same text gives the same sentences.
        spoken: Sentences that must not come again; every drawn sentence is added to it.

    Yields:
        A sentence of 3 to 12 words in lower case: letters, spaces and apostrophes.
    """
    choose = random.Random(seed)
    counts: Counter[str] = Counter()

    def commonness(sentence: str) -> float:
        return mean(sorted(counts[word] for word in sentence.split())[:_RARE_WORDS])

    while True:
        drawn = {_fill(choose.choice(PATTERNS), choose): None for _ in range(_CANDIDATES)}
        fresh = [sentence for sentence in drawn if sentence not in spoken]
        if fresh:
            best = min(fresh, key=commonness)
            spoken.add(best)
            counts.update(best.split())
            yield best
