"""The vocabulary of generated worlds, and which split may use which part of it.

Training, validation and held-out worlds share no word, no name of a program and no wording. For
words the hash of the word decides, for lists of wordings the place in the list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, TypeVar

T = TypeVar("T")
#: Whose words, names and wordings a world has.
Share = Literal["train", "valid", "holdout"]
SHARES: tuple[Share, ...] = ("train", "valid", "holdout")


def share_of(word: str) -> Share:
    """Whose a word is, by the word alone: 66 % training, 12 % validation, 22 % held out."""
    first = hashlib.sha256(word.encode()).digest()[0]
    return "holdout" if first < 56 else "valid" if first < 88 else "train"


def wordings(options: Sequence[T], share: Share) -> Sequence[T]:
    """The part of a list of wordings that ``share`` may use.

    The last quarter, at least one, is held out; the one before it is for validation.
    """
    held = max(1, len(options) // 4)
    match share:
        case "holdout":
            return options[-held:]
        case "valid":
            return options[-held - 1 : -held]
        case _:
            return options[: -held - 1]


def _listed(text: str) -> tuple[str, ...]:
    return tuple(text.split())


#: Plain words by domain. A world draws from one domain first.
DOMAINS: dict[str, tuple[str, ...]] = {
    "plants": _listed("""
        acorn almond apple aster bamboo barley basil bean berry birch blossom branch cactus cedar
        cherry clover cotton daisy fern fig forest garlic ginger grape hazel hedge ivory jasmine
        laurel leaf lemon lily lotus mango maple mint moss nutmeg oak olive onion orchid palm pear
        pepper pine plum poppy potato pumpkin radish reed rose saffron spruce thistle tomato tulip
        turnip vanilla violet walnut wheat willow
        """),
    "animals": _listed("""
        badger bear beaver bison camel canary cobra condor coyote crab crane cricket crow deer
        donkey dragon eagle falcon ferret finch fox gecko goose hamster hare hawk heron horse
        hornet jackal jaguar koala lemur lizard lobster magpie mole monkey moose otter oyster
        panther parrot penguin pigeon pony puma quail rabbit raven robin salmon seal shark spider
        squid stork swan tiger toad trout turtle viper walrus weasel whale wolf zebra
        """),
    "house": _listed("""
        anchor apron attic balcony banjo barn basket blanket bolt bonnet bottle brick bridge broom
        brush bucket button cabin candle carpet castle cellar chain chimney couch cradle cup
        curtain drawer drum fence fiddle flute garden gate glass glove guitar hammer hinge hotel
        jacket kettle kitchen ladder lamp lantern locket mirror mitten needle paddle pantry piano
        pillow porch ribbon rope saddle scarf shelf shovel sofa table temple tower trail tunnel
        umbrella vase violin wagon wheel window
        """),
    "stones": _listed("""
        agate amber basalt bronze chalk clay coal cobalt copper coral crystal diamond emerald
        flint garnet gold granite gravel iron jade jewel lava lead magnet marble mercury mica
        nickel onyx opal pearl pebble platinum quarry quartz ruby sand sapphire silver slate
        steel stone sulfur tin topaz zinc
        """),
    "places": _listed("""
        arctic bay beach canal canyon cape cave cliff coast creek delta desert dune estuary field
        fjord glacier gulf harbor hill island jungle lagoon lake marsh meadow mesa moor mountain
        oasis ocean pasture plain plateau pond prairie ravine reef ridge river savanna shore spring
        steppe strait summit swamp tundra valley volcano
        """),
    "food": _listed("""
        bacon bagel biscuit bread broth burger butter cake candy caramel cereal cheese chili
        chips chutney cider cocoa cookie cream curry custard dough fudge gravy honey jam jelly
        juice ketchup lasagna muffin mustard noodle nougat omelet pancake pasta pastry pickle
        pizza pretzel pudding ravioli rice salad salsa sauce sausage soup stew sugar syrup taco
        toast toffee waffle yogurt
        """),
    "office": _listed("""
        account agenda audit badge balance banner binder branch briefing budget bulletin bureau
        calendar catalog charter cheque client clerk contract counter coupon credit debit deposit
        desk draft editor envelope estimate expense folder forecast freight invoice journal ledger
        lender letter manual margin memo mortgage notice office parcel payroll permit poster
        postage quota receipt refund register rental report salary stamp stock survey tariff
        tenant ticket treaty vendor voucher warrant
        """),
    "network": _listed("""
        adapter alarm antenna backup beacon bridge broker buffer cable cache cluster console
        daemon desktop device domain fabric firmware gateway handler hub kernel laptop latency
        mainframe mirror modem monitor packet panel pixel plugin portal printer probe proxy queue
        rack radar relay replica router scanner sensor server signal socket storage switch tablet
        terminal tracker uplink widget
        """),
    "sky": _listed("""
        aurora breeze cloud comet cosmos dawn drizzle dusk eclipse ember equinox flame fog frost
        galaxy gale hail halo horizon lightning meteor mist monsoon moon nebula north orbit planet
        pulsar rain rainbow rocket saturn shadow snow solstice spark star storm sunset thunder
        tide twilight vapor venus winter zenith
        """),
    "travel": _listed("""
        airport atlas balloon bicycle boat cabin canoe caravan cargo carriage compass convoy
        cruise depot dock engine ferry flight garage glider helmet journey kayak kite luggage
        map motor pedal pilot platform port raft railway sail scooter seat shuttle sled station
        subway terminal ticket tire tour tractor train tram tricycle trolley truck vessel voyage
        wharf yacht
        """),
    "craft": _listed("""
        axle bead bobbin brass canvas chisel circuit cord crayon denim dye easel embroidery
        enamel fabric felt fiber filter fringe gauge gear glaze glue grain ink knot lace lacquer
        lathe leather lever linen loom mallet mosaic nail paint paper pencil pigment plaster
        pliers pottery puzzle quilt rivet sandpaper satin screw silk spool straw string tape
        tassel thread tile timber tinsel varnish velvet weave wool yarn
        """),
    "people": _listed("""
        actor artist baker banker barber butcher captain chef clown coach cook dancer dentist
        doctor driver farmer fisher gardener goalie guard guest hunter jockey judge knight lawyer
        mason mayor miller miner nurse painter pirate player plumber poet porter queen ranger
        rider sailor scholar scout singer smith soldier surgeon tailor teacher tutor uncle usher
        waiter weaver wizard writer
        """),
}
#: Every plain word once.
WORDS: tuple[str, ...] = tuple(
    dict.fromkeys(word for domain in DOMAINS.values() for word in domain)
)
KINDS = ("txt", "txt", "txt", "log", "list", "dat", "md", "csv")
STARTS = _listed("b br c cl d dr f fl g gr h j k kl l m n p pl qu r s sk st t tr v w z")
MIDDLES = _listed("a e i o u")
ENDS = _listed("b ck d g l ll m n nd nk p r rn s sk st t x")
TAILS = _listed("a o i er el in on us ix")
#: Verbs with which a provider may give its directives.
FETCH = _listed("""
fetch pull next task orders show get give read open today work job brief plan todo duty ask
agenda list item start print tell say see view need want turn errand chore note call goal
""")
#: Its other verbs, and what its help says about them.
OTHER = {
    "version": "print the version",
    "count": "count the users",
    "users": "show the list of users",
    "status": "say if the store is open",
    "about": "tell who wrote this",
    "age": "print how old the store is",
    "size": "print the size of the store",
    "check": "check the disk",
    "ping": "say that it lives",
    "owner": "show who runs this",
    "hello": "say hello",
    "stats": "print numbers of last week",
    "date": "print the date",
    "level": "print the water level",
    "color": "show the colours",
    "motto": "print the motto",
    "uptime": "print how long it runs",
    "mood": "tell how it feels",
    "rank": "print the rank of each user",
    "score": "print the score",
    "weather": "show the weather",
    "quote": "print a quote",
    "limit": "show the limits",
    "month": "print the month",
    "news": "print old news",
    "map": "draw the rooms",
    "bill": "print the last bill",
    "menu": "show what is for lunch",
    "keys": "count the keys",
}
