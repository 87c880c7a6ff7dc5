//! The words of the pages: school English, from which no filter should make anything.

pub(crate) const NOUNS: &str = "
    river mill bridge valley lesson library harbour teacher pupil classroom garden orchard meadow village market
    station railway museum castle cathedral lighthouse island beach cliff forest mountain glacier volcano desert
    planet telescope microscope experiment equation triangle circle fraction graph theorem algorithm computer keyboard
    printer program spreadsheet battery magnet circuit engine bicycle tractor ferry aeroplane balloon compass map
    atlas calendar clock diary letter newspaper poem novel chapter sentence paragraph author painter sculptor musician
    orchestra violin piano trumpet drum choir theatre stage costume audience festival harvest bakery kitchen recipe
    breakfast apple potato cabbage carrot wheat barley honey butter cheese bread soup kettle saucepan spoon table
    chair window door roof chimney cellar staircase corridor courtyard farm barn stable sheep horse donkey rabbit
    hedgehog badger otter heron swallow robin salmon trout beetle butterfly spider oak willow hawthorn bluebell daisy
    fern moss seed root leaf branch soil stone pebble chalk clay copper iron silver coal steam wind storm rainbow
    thunder frost snow fog cloud season climate ocean tide wave current reef sailor captain engineer doctor nurse
    scientist historian carpenter blacksmith gardener postman librarian baker farmer fisherman builder plumber
    electrician council parliament election law treaty census empire century dynasty charter monument archive
    manuscript document exhibition workshop project timetable assembly homework essay exam certificate scholarship
    university apprenticeship career team captaincy match tournament medal stadium running swimming cricket hockey
    netball rowing orienteering chess puzzle riddle story legend myth fable";

pub(crate) const ADJECTIVES: &str = "
    old new small large quiet busy narrow wide steep gentle bright pale dark green golden wooden stone early late warm
    cold dry damp fresh ancient modern local distant famous ordinary careful curious patient cheerful clever honest
    brave calm tired hungry young tall short heavy light round square smooth rough clear cloudy simple difficult
    useful popular rare common annual weekly daily winter summer northern southern eastern western royal public
    private open hidden broken repaired painted printed handmade electric mechanical chemical natural historic coastal
    rural urban regular sudden slow quick final original complete careful accurate detailed practical musical
    scientific mathematical geographical";

pub(crate) const VERBS: &str = "
    built repaired painted described discovered measured visited explored drew recorded explained planted harvested
    collected compared studied translated wrote read performed designed tested improved opened closed crossed followed
    carried counted sorted labelled photographed sketched rehearsed presented published restored borrowed returned
    shared watched heard remembered imagined invented calculated predicted observed classified mapped photographed
    weighed mixed heated cooled dissolved filtered floated balanced assembled connected programmed debugged discussed
    debated questioned answered summarised edited illustrated";

pub(crate) const NAMES: &str = "
    Amelia Bethan Callum Daniel Eleanor Farah Gethin Hannah Imran Jasmine Kofi Leah Mohammed Niamh Oliver Priya Quentin
    Rosie Samuel Tomasz Una Victor Wanda Yusuf Zara Aisha Benedict Catrin Dylan Emeka Fiona Grace Harvey Isla Jacob";

pub(crate) const PLACES: &str = "
    Whitby Ludlow Hexham Kendal Stromness Aberystwyth Conwy Durham Lincoln Wells Penzance Norwich Ely Oban Pitlochry
    Bangor Armagh Lisburn Shrewsbury Buxton Matlock Ripon Skipton Alnwick Berwick Falmouth Totnes Glastonbury Salisbury
    Winchester Chichester Rye Canterbury Southwold Aldeburgh Stamford Oakham Malvern Hereford Brecon";

pub(crate) const TIMES: &str = "
    yesterday today recently often rarely twice again afterwards beforehand overnight eventually together outside
    indoors upstairs nearby abroad carefully slowly quickly";

/// Lower case: a word of the list. Upper case in braces: N noun, A adjective, V verb, W name, L place, T when or how, D a
/// number.
pub(crate) const SENTENCES: &[&str] = &[
    "The {A} {N} near {L} was {V} by {W} and {W} in 1{D}.",
    "{W} {V} the {N} {T}, and nobody in the class had seen a {A} {N} before.",
    "How to look after a {N}: keep it {A}, keep it dry, and ask for help if the {N} changes.",
    "In {L} the {N} bends twice below the {A} {N}, where the children of the village learn to swim every summer.",
    "I want to know why the {N} is {A} in the morning and {A} in the evening.",
    "Where can I find a {N} like the one that {W} {V} at the museum in {L}?",
    "There are {D} ways to describe a {N}, and most of them begin with the {A} {N}.",
    "After the {A} {N} had been {V}, the {N} was moved from {L} to {L}.",
    "It is said that {W} {V} a {N} with nothing but a {N}, a {N} and a {A} {N}.",
    "If you have never {V} a {N}, start with a {A} one and take your time.",
    "What would happen if the {N} were {A}? Write down what you think before you try it.",
    "My {N} is {A}, but my brother says that his {N} is more {A} than the {N} of {W}.",
    "For the {A} project you need a {N}, two {A} cards, some {N} and a sheet of paper.",
    "Students in {L} {V} {D} samples of {N} and {V} them {T}.",
    "The price of a {N} rose from {D} pounds to {D} pounds while the {N} stayed the same.",
    "We {V} the {A} {N} {T}; then we {V} the results and drew a {A} graph.",
    "You should not go near the {N} without telling {W}, because the {N} there is {A}.",
    "He {V} her the {N}, she {V} him the {N}, and they walked home past the {A} {N}.",
    "Between {L} and {L} the train passes a {N}, a {A} {N} and a row of {A} houses.",
    "Read the chapter about the {N}, answer questions 1 to {D}, and bring your {N} on Monday.",
    "Some people think that the {N} came before the {N}; others think it was the {A} {N}.",
    "A {N} is {A} when it is {V} {T}, and {A} when it is not.",
    "They say the best {N} in the county is made in {L}, by a {A} baker who {V} it {T}.",
    "This term we will look at the {N}, the {N} and the {A} {N} of the last century.",
    "Open from 9 to {D}, the {N} offers {A} walks, a {A} {N} and tea in the {N}.",
    "When the {N} stopped, {W} {V} the {A} {N} and everyone could hear the {N} again.",
    "Can anyone tell me who {V} the first {N}, and whether it was {A}?",
    "Compare the {A} {N} with the {N} on page {D}: which of them is more {A}, and why?",
];

/// Headings and links.
pub(crate) const TITLES: &[&str] = &[
    "The {A} {N} of {L}",
    "{W} and the {N}",
    "A {A} {N}",
    "Learning about the {N}",
    "{N} and {N}",
    "What {W} {V}",
    "Visit {L}",
];
