"""Names of things and parts, as data sets write them and as people say them.

Sources: the class lists of Objects365, LVIS and PACO, Pascal VOC, ADE20K and
PartImageNet, whose spelling is theirs; what each becomes is ours.
"""

import re

_TABLE = """
aeroplane = airplane | american football = football | ashcan = trash can
bakset = basket | ballon = balloon | billards = billiard balls
blackboard/whiteboard = blackboard | buttefly = butterfly | campel = camel
canned = can | cellular telephone = cell phone | computer box = computer case
crt screen = screen | curling = curling stone | diningtable = dining table
dinning table = dining table | extention cord = extension cord
formula 1 = racing car | french = french horn | hamimelon = hami melon
head phone = headphones | hotair ballon = hot air balloon
laptop computer = laptop | lifesaver = lifebuoy | meat ball = meatball
microwave oven = microwave | minibike = motorcycle | moniter/tv = monitor
monitor/tv = monitor | motorbike = motorcycle | mushroon = mushroom
noddles = noodles | other balls = ball | other fish = fish
other shoes = shoes | poker card = playing card | pottedplant = potted plant
remote = remote control | skiboard = skis
soccer = soccer ball | street lights = street light
table tennis = table tennis ball | tape measur/ruler = tape measure
tea pot = teapot | television receiver = television
television set = television | tennis = tennis ball | tong = tongs
trash bin can = trash can | trash bin/can = trash can | tvmonitor = monitor
wild bird = bird | work surface = countertop
"""
_PARTS = """
buttons = button | keys = key
colied tube = coiled tube | licence plate = license plate
licplate = license plate | runningboard = running board
splashboard = splash board | steeringwheel = steering wheel | tier = tire
turnsignal = turn signal | windscreen = windshield
"""


def _table(rows: str) -> dict[str, str]:
    pairs = (row.split(" = ") for row in re.split(r" \| |\n", rows.strip()))
    return {source: name for source, name in pairs}


_CATEGORIES, _PART_NAMES = _table(_TABLE), _table(_PARTS)
_NOTE = re.compile(r"\s*\([^()]*\)")  # "car_(automobile)"


def clean_category(name: str) -> str:
    """What people call things of a category: "car_(automobile)" is a "car".

    Of alternatives ("Cabinet/shelf", "television receiver, television") it is the
    first, unless the table knows better. A name of which nothing is left stays.
    """
    return _cleaned(name, _CATEGORIES)


def clean_part(name: str) -> str:
    """What people call a part: "steeringwheel" is a "steering wheel"."""
    return _cleaned(name, _PART_NAMES)


def _cleaned(name: str, table: dict[str, str]) -> str:
    plain = " ".join(_NOTE.sub("", name.replace("_", " ")).lower().split())
    plain = re.sub(r" ?/ ?", "/", plain)
    first = re.split(r"[,;/]", plain)[0].strip()
    return table.get(plain) or table.get(first) or first or plain or name.strip()
