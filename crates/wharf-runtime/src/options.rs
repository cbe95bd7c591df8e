//! The words of a mount's options.

use std::path::PathBuf;

use wharf_sys::mount::{Propagation, attr};

/// A mount's options, sorted by what they change.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) bind: bool,
    pub(crate) recursive: bool,
    pub(crate) remount: bool,
    /// To be made read-only when all mounts stand.
    pub(crate) readonly_later: bool,
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) recursive_set: u64,
    pub(crate) recursive_clear: u64,
    pub(crate) copy_up: bool,
    /// Mapped owners; `true`: below the mount too.
    pub(crate) idmap: Option<bool>,
    pub(crate) propagation: Vec<(Propagation, bool)>,
    /// Not the source itself is mounted but what is there below it; ours, as OCI has no word for it.
    pub(crate) subpath: Option<String>,
    /// The source is what this process has at the path, in its mount namespace; ours, too.
    pub(crate) process: Option<u32>,
    pub(crate) data: Vec<(String, Option<String>)>,
}

/// Word, attribute, and whether the word sets it; with an `r` before it, the word means all mounts below too.
const ATTRIBUTES: &[(&str, u64, bool)] = &[
    ("ro", attr::RDONLY, true),
    ("rw", attr::RDONLY, false),
    ("nosuid", attr::NOSUID, true),
    ("suid", attr::NOSUID, false),
    ("nodev", attr::NODEV, true),
    ("dev", attr::NODEV, false),
    ("noexec", attr::NOEXEC, true),
    ("exec", attr::NOEXEC, false),
    ("nodiratime", attr::NODIRATIME, true),
    ("diratime", attr::NODIRATIME, false),
    ("nosymfollow", attr::NOSYMFOLLOW, true),
    ("symfollow", attr::NOSYMFOLLOW, false),
];

/// Word, and the mode of access times that it asks for.
const ACCESS_TIMES: &[(&str, u64)] = &[
    ("noatime", attr::NOATIME),
    ("strictatime", attr::STRICTATIME),
    ("relatime", attr::RELATIME),
    ("atime", attr::RELATIME),
    ("norelatime", attr::RELATIME),
    ("nostrictatime", attr::RELATIME),
];

const PROPAGATIONS: &[(&str, Propagation)] = &[
    ("shared", Propagation::Shared),
    ("slave", Propagation::Slave),
    ("private", Propagation::Private),
    ("unbindable", Propagation::Unbindable),
];

/// Words of `mount(8)` that are the filesystem's, without a value.
const OF_FILESYSTEM: &[&str] = &["sync", "dirsync", "lazytime", "mand"];

/// A path below the source. `x-` is what `mount(8)` leaves to programs.
const SUBPATH: &str = "x-wharf.subpath";
/// A process that has the source.
const PROCESS: &str = "x-wharf.process";

/// Words that ask for what is so anyway, or that no kernel of today listens to.
const WITHOUT_EFFECT: &[&str] = &[
    "defaults",
    "async",
    "nolazytime",
    "nomand",
    "silent",
    "loud",
    "iversion",
    "noiversion",
    "acl",
    "noacl",
];

/// The options that are understood, sorted; others go to the filesystem.
pub fn mount_options() -> Vec<String> {
    let words = ATTRIBUTES.iter().map(|(word, ..)| *word);
    let words = words.chain(ACCESS_TIMES.iter().map(|(word, _)| *word));
    let words = words.chain(PROPAGATIONS.iter().map(|(word, _)| *word));
    let both = words.flat_map(|word| [word.to_owned(), format!("r{word}")]);
    let more = ["bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap"];
    let more = more.iter().chain(OF_FILESYSTEM).chain(WITHOUT_EFFECT);
    let mut all: Vec<String> = both.chain(more.map(|word| (*word).to_owned())).collect();
    all.sort();
    all
}

/// Lower folders, topmost first; upper and work folder.
pub(crate) type Layers = (Vec<PathBuf>, Option<(PathBuf, PathBuf)>);

impl Asked {
    /// The layers of an overlay that are listed one by one; `None` if the options are another mount's.
    pub(crate) fn layers(&self) -> Option<Layers> {
        let named = |name: &'static str| {
            let data = self.data.iter().filter(move |(key, _)| key == name);
            data.filter_map(|(_, value)| value.as_ref().map(PathBuf::from))
        };
        let lowers: Vec<PathBuf> = named("lowerdir+").collect();
        let upper = named("upperdir").next().zip(named("workdir").next());
        (!lowers.is_empty()).then_some((lowers, upper))
    }

    pub(crate) fn parse(options: &[String]) -> Self {
        let mut asked = Self::default();
        for option in options {
            asked.take(option);
        }
        asked
    }

    fn take(&mut self, option: &str) {
        if let Some((bits, on)) = attribute(option) {
            change(&mut self.set, &mut self.clear, bits, on);
            return;
        }
        if let Some(propagation) = Self::propagation(option) {
            self.propagation.push(propagation);
            return;
        }
        let below = option.strip_prefix('r').and_then(attribute);
        if let Some((bits, on)) = below {
            change(&mut self.recursive_set, &mut self.recursive_clear, bits, on);
            return;
        }
        match option {
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            "remount" => self.remount = true,
            "tmpcopyup" => self.copy_up = true,
            "idmap" => self.idmap = Some(false),
            "ridmap" => self.idmap = Some(true),
            _ if WITHOUT_EFFECT.contains(&option) => {}
            _ => match option.split_once('=') {
                Some((SUBPATH, path)) => self.subpath = Some(path.to_owned()),
                Some((PROCESS, pid)) if pid.parse::<u32>().is_ok() => {
                    self.process = pid.parse().ok()
                }
                _ => self.take_data(option),
            },
        }
    }

    /// What is the filesystem's; several in one word are parted by commas, as mount(2) parts them.
    fn take_data(&mut self, option: &str) {
        let mut escaped = false;
        let words = option.split(|letter| {
            let splits = letter == ',' && !escaped;
            escaped = letter == '\\' && !escaped;
            splits
        });
        for word in words.filter(|word| !word.is_empty()) {
            let (key, value) = match word.split_once('=') {
                Some((key, value)) => (key, Some(value.to_owned())),
                None => (word, None),
            };
            self.data.push((key.to_owned(), value));
        }
    }

    pub(crate) fn propagation(option: &str) -> Option<(Propagation, bool)> {
        let find = |word: &str| PROPAGATIONS.iter().find(|(known, _)| *known == word);
        let plain = find(option).map(|(_, propagation)| (*propagation, false));
        plain.or_else(|| {
            let (_, propagation) = find(option.strip_prefix('r')?)?;
            Some((*propagation, true))
        })
    }
}

/// The attributes that a word sets or clears. A mode of access times stands for all of its bits.
fn attribute(word: &str) -> Option<(u64, bool)> {
    let plain = ATTRIBUTES.iter().find(|(known, ..)| *known == word);
    let plain = plain.map(|(_, bits, on)| (*bits, *on));
    plain.or_else(|| {
        let (_, mode) = ACCESS_TIMES.iter().find(|(known, _)| *known == word)?;
        Some((attr::ATIME_MASK | mode << MODE, true))
    })
}

/// Where [`attribute`] keeps a mode of access times, beside the mask of its bits.
const MODE: u32 = 32;

fn change(set: &mut u64, clear: &mut u64, bits: u64, on: bool) {
    if bits & attr::ATIME_MASK == attr::ATIME_MASK {
        // The kernel wants the whole mask cleared and one mode set.
        *clear |= attr::ATIME_MASK;
        *set = *set & !attr::ATIME_MASK | bits >> MODE;
    } else if on {
        *set |= bits;
        *clear &= !bits;
    } else {
        *clear |= bits;
        *set &= !bits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn parse(options: &[&str]) -> Asked {
        Asked::parse(
            &options
                .iter()
                .map(|&option| option.to_owned())
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn options_are_sorted_by_what_they_change() {
        let asked = parse(&["rbind", "ro", "rslave", "nosuid", "suid", "size=64k", "x"]);
        assert!(asked.bind && asked.recursive);
        assert_eq!((asked.set, asked.clear), (attr::RDONLY, attr::NOSUID));
        assert_eq!(asked.propagation, [(Propagation::Slave, true)]);
        assert_eq!(
            asked.data,
            [("size".into(), Some("64k".into())), ("x".into(), None)]
        );
    }

    #[test]
    fn several_of_the_filesystem_s_in_one_word() {
        let asked = parse(&["size=64k,mode=700", "lowerdir=a\\,b:c,x"]);
        let data: Vec<(&str, Option<&str>)> = asked
            .data
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_deref()))
            .collect();
        assert_eq!(
            data,
            [
                ("size", Some("64k")),
                ("mode", Some("700")),
                ("lowerdir", Some("a\\,b:c")),
                ("x", None)
            ]
        );
    }

    #[test]
    fn words_with_an_r_mean_what_is_below() {
        let asked = parse(&[
            "rro",
            "rnosuid",
            "rexec",
            "rnoatime",
            "strictatime",
            "ridmap",
        ]);
        assert_eq!(
            asked.recursive_set,
            attr::RDONLY | attr::NOSUID | attr::NOATIME
        );
        assert_eq!(asked.recursive_clear, attr::NOEXEC | attr::ATIME_MASK);
        assert_eq!(
            (asked.set, asked.clear),
            (attr::STRICTATIME, attr::ATIME_MASK)
        );
        assert_eq!(asked.idmap, Some(true));
        assert!(asked.data.is_empty());
    }

    #[test]
    fn all_that_is_listed_is_understood() {
        for word in mount_options() {
            let asked = parse(&[&word]);
            let kept = OF_FILESYSTEM.contains(&&*word);
            assert_eq!(asked.data.is_empty(), !kept, "{word}");
        }
    }
}
