"""Write the rows of preset smollm2: questions whose answer is one word, to presets/data/one_word_{train,eval}.jsonl.

    python tools/one_word.py

Common knowledge, written for this project. The held-out questions are others of the same three kinds: what is taught is
how to answer, not what. A row has several accepted answers where several words are right, or where the word may as
well begin with a capital letter.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "presets" / "data"
HELD_OUT = 64
SEED = 0

CAPITALS = """
France Paris, Italy Rome, Germany Berlin, Spain Madrid, Japan Tokyo, China Beijing, Egypt Cairo, Greece Athens,
Austria Vienna, Russia Moscow, Poland Warsaw, Portugal Lisbon, Ireland Dublin, Norway Oslo, Sweden Stockholm,
Cuba Havana, Peru Lima, Kenya Nairobi, Iran Tehran, Thailand Bangkok, Denmark Copenhagen, Finland Helsinki,
Hungary Budapest, Belgium Brussels, England London, Canada Ottawa, Australia Canberra, Turkey Ankara, Iraq Baghdad,
Syria Damascus, Lebanon Beirut, Vietnam Hanoi, Indonesia Jakarta, Ukraine Kyiv Kiev, Romania Bucharest, Bulgaria Sofia,
Croatia Zagreb, Serbia Belgrade, Chile Santiago, Venezuela Caracas, Colombia Bogota, Morocco Rabat, Ghana Accra,
Afghanistan Kabul, Scotland Edinburgh, Wales Cardiff, Iceland Reykjavik, Libya Tripoli, Tunisia Tunis,
Pakistan Islamabad, Bangladesh Dhaka, Nepal Kathmandu, Philippines Manila, Jamaica Kingston, Senegal Dakar,
Jordan Amman, Qatar Doha, Latvia Riga, Estonia Tallinn, Lithuania Vilnius, Taiwan Taipei, Uruguay Montevideo,
Ecuador Quito, Uganda Kampala, Zambia Lusaka, Zimbabwe Harare, Angola Luanda, Somalia Mogadishu, Sudan Khartoum,
Albania Tirana, Slovenia Ljubljana, Switzerland Bern Berne, Nigeria Abuja, Algeria Algiers, Fiji Suva, Malta Valletta
"""
OPPOSITES = """
hot cold, big small little, up down, fast slow, day night, wet dry, old young new, rich poor, hard soft easy,
light dark heavy, open closed close shut, happy sad unhappy, early late, full empty, high low, long short, thick thin,
strong weak, loud quiet soft, good bad evil, black white, north south, east west, love hate, war peace, true false,
push pull, buy sell, inside outside, before after, clean dirty, narrow wide broad, deep shallow, sharp dull blunt,
smooth rough, heavy light, easy difficult hard, brave cowardly, sweet sour bitter, tall short, near far,
ancient modern, accept reject refuse, arrive depart leave, increase decrease, attack defend, add subtract,
multiply divide, succeed fail, remember forget, give take, alive dead, asleep awake, innocent guilty, friend enemy foe,
king queen, brother sister, husband wife, son daughter, male female, positive negative, maximum minimum,
majority minority, export import, expand contract, freeze melt thaw, cheap expensive, first last, winner loser,
success failure, question answer, top bottom, front back rear, hello goodbye, summer winter, sunrise sunset
"""
PLURALS = """
mouse mice, child children, foot feet, tooth teeth, goose geese, man men, woman women, knife knives, leaf leaves,
wolf wolves, baby babies, city cities, box boxes, church churches, hero heroes, potato potatoes, wife wives,
loaf loaves, shelf shelves, person people persons, party parties, story stories, bus buses, dish dishes, watch watches,
class classes, country countries, family families, berry berries, cherry cherries, puppy puppies, tomato tomatoes,
thief thieves, calf calves, book books, cat cats, tree trees, house houses, car cars, dog dogs, bird birds, ox oxen,
glass glasses, brush brushes, key keys, toy toys, monkey monkeys, day days, lady ladies, wish wishes, bench benches,
peach peaches, kiss kisses, table tables, river rivers, apple apples, horse horses, window windows, friend friends
"""
KINDS = {
    "What is the capital of {}?": CAPITALS,
    "What is the opposite of {}?": OPPOSITES,
    "What is the plural of {}?": PLURALS,
}


def rows() -> list[dict[str, object]]:
    """Every question once: {prompt, answer}; answer a list of what is accepted, the one to be shown first."""
    found: list[dict[str, object]] = []
    for question, listed in KINDS.items():
        for asked, *accepted in (each.split() for each in listed.split(",")):
            spelt = dict.fromkeys(spelling for word in accepted for spelling in (word, word.capitalize()))
            found.append({"prompt": question.format(asked), "answer": list(spelt)})
    return found


def main() -> None:
    found = rows()
    random.Random(SEED).shuffle(found)
    for name, part in (("eval", found[:HELD_OUT]), ("train", found[HELD_OUT:])):
        lines = (json.dumps(row) + "\n" for row in part)
        (FOLDER / f"one_word_{name}.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
