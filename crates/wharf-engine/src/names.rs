//! Names of containers: the rule, and made-up ones.

use rand::seq::IndexedRandom as _;

use crate::EngineError;

/// Words for how somebody may be.
const ADJECTIVES: &[&str] = &[
    "able", "agile", "amber", "ample", "apt", "ardent", "balmy", "bold", "brave", "breezy",
    "bright", "brisk", "calm", "candid", "chatty", "cheery", "civil", "clear", "clever", "cosy",
    "crisp", "curious", "dapper", "daring", "deft", "dreamy", "eager", "early", "earnest", "easy",
    "fair", "famous", "fearless", "festive", "fluent", "fond", "frank", "free", "fresh", "gentle",
    "genuine", "gifted", "glad", "golden", "graceful", "grand", "handy", "happy", "hardy",
    "honest", "hopeful", "humble", "jolly", "jovial", "keen", "kind", "lively", "loyal", "lucid",
    "lucky", "mellow", "merry", "mighty", "mindful", "modest", "musing", "neat", "nimble", "noble",
    "patient", "plucky", "polite", "proud", "prudent", "quick", "quiet", "quirky", "ready",
    "robust", "rosy", "sage", "serene", "sharp", "shiny", "silent", "sincere", "smart", "snug",
    "solid", "spirited", "spry", "stable", "steady", "sturdy", "sunny", "swift", "tender",
    "thrifty", "tidy", "trusty", "upbeat", "vivid", "warm", "wise", "witty", "worthy", "zesty",
];

/// Surnames of people who built, measured, charted or explained something.
const SURNAMES: &[&str] = &[
    "abel",
    "adleman",
    "agnesi",
    "allen",
    "ampere",
    "anning",
    "apgar",
    "archimedes",
    "backus",
    "bardeen",
    "bartik",
    "bassi",
    "bell",
    "bernoulli",
    "blackwell",
    "bohr",
    "boole",
    "boyle",
    "brattain",
    "brunel",
    "cantor",
    "carson",
    "cauchy",
    "cerf",
    "chandra",
    "clarke",
    "colden",
    "conway",
    "cori",
    "cray",
    "curie",
    "darwin",
    "dijkstra",
    "dirac",
    "drake",
    "easley",
    "edison",
    "einstein",
    "elion",
    "engelbart",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "feynman",
    "fourier",
    "franklin",
    "galileo",
    "galois",
    "gauss",
    "germain",
    "goedel",
    "goodall",
    "hamilton",
    "hawking",
    "hertz",
    "herschel",
    "hilbert",
    "hodgkin",
    "hoover",
    "hopper",
    "huygens",
    "hypatia",
    "jackson",
    "jang",
    "jennings",
    "johnson",
    "joliot",
    "kalam",
    "kapitsa",
    "kare",
    "keldysh",
    "kepler",
    "khorana",
    "kilby",
    "knuth",
    "kowalevski",
    "lamarr",
    "lamport",
    "leakey",
    "leavitt",
    "liskov",
    "lovelace",
    "lumiere",
    "maxwell",
    "mayer",
    "mccarthy",
    "meitner",
    "mendel",
    "mirzakhani",
    "moore",
    "moser",
    "murdock",
    "napier",
    "nash",
    "newton",
    "nobel",
    "noether",
    "ohm",
    "pascal",
    "pasteur",
    "payne",
    "perlman",
    "pike",
    "planck",
    "poincare",
    "poitras",
    "ptolemy",
    "raman",
    "ramanujan",
    "ride",
    "ritchie",
    "robinson",
    "rubin",
    "saha",
    "sammet",
    "shannon",
    "shirley",
    "shockley",
    "sinoussi",
    "snyder",
    "spence",
    "stallman",
    "steinmetz",
    "stonebraker",
    "swirles",
    "tesla",
    "tereshkova",
    "thompson",
    "torvalds",
    "turing",
    "varahamihira",
    "vaughan",
    "volhard",
    "volta",
    "wescoff",
    "wilbur",
    "wiles",
    "williams",
    "wing",
    "wozniak",
    "wright",
    "wu",
    "yalow",
    "yonath",
    "zhukovsky",
];

/// A made-up name, `adjective_surname`; later tries carry a digit, as Docker's do.
pub(crate) fn made_up(attempt: u32) -> String {
    let mut random = rand::rng();
    let adjective = ADJECTIVES.choose(&mut random).unwrap_or(&"calm");
    let surname = SURNAMES.choose(&mut random).unwrap_or(&"hopper");
    match attempt {
        0 => format!("{adjective}_{surname}"),
        _ => format!(
            "{adjective}_{surname}{}",
            rand::random_range(0..10 * attempt)
        ),
    }
}

/// Checks a name that was given (moby `names.RestrictedNamePattern`); returns it without the slash.
pub(crate) fn check(name: &str) -> Result<&str, EngineError> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let mut bytes = bare.bytes();
    let first = bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if first && rest && bare.len() > 1 {
        Ok(bare)
    } else {
        Err(EngineError::InvalidName(name.to_owned()))
    }
}

/// A new id: 64 hexadecimal digits that are not all decimal in the first twelve, so that no short id is
/// mistaken for a number.
pub fn new_id() -> String {
    loop {
        let id: String = rand::random::<[u8; 32]>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if id
            .get(..12)
            .is_some_and(|short| short.bytes().any(|byte| byte.is_ascii_alphabetic()))
        {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_and_refuses_as_docker() {
        assert_eq!(check("/web.1").unwrap(), "web.1");
        assert_eq!(check("a_").unwrap(), "a_");
        for bad in ["", "a", "-a", "a b", "a/b", "ä1"] {
            let text = format!(
                "Invalid container name ({bad}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            );
            assert_eq!(check(bad).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn made_up_names_are_names() {
        for attempt in 0..5 {
            let name = made_up(attempt);
            assert!(check(&name).is_ok() && name.contains('_'), "{name}");
        }
        assert_eq!(new_id().len(), 64);
    }
}
